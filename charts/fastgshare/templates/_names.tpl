{{- /* Names and labels. A component is nats, gateway, scheduler, profiler, node or provision. */ -}}

{{- define "fastgshare.name" -}}
{{- if contains "fastgshare" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-fastgshare" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "fastgshare.labels" -}}
app.kubernetes.io/name: fastgshare
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "fastgshare.selector" -}}
app.kubernetes.io/name: fastgshare
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "fastgshare.image" -}}
{{- $image := .root.Values.image -}}
{{- with $image.registry }}{{ . | trimSuffix "/" }}/{{ end }}fastgshare/{{ .image }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "fastgshare.secret" -}}
{{- .Values.auth.existingSecret | default (printf "%s-bus" (include "fastgshare.name" .)) }}
{{- end }}

{{- /* The bus as `user`: nats://user@host:port,host:port. */ -}}
{{- define "fastgshare.bus" -}}
{{- $servers := .root.Values.nats.externalServers -}}
{{- if .root.Values.nats.enabled }}{{ $servers = list (printf "%s-nats:4222" (include "fastgshare.name" .root)) }}{{ end -}}
nats://{{ .user }}@{{ join "," $servers }}
{{- end }}

{{- /* Of everything that JetStream keeps. Addresses of a bus elsewhere do not tell how many servers it has. */ -}}
{{- define "fastgshare.copies" -}}
{{- $nats := .Values.nats -}}
{{- if and $nats.enabled (gt (int $nats.copies) (int $nats.replicas)) }}
{{- fail (printf "nats.copies: %d copies need as many servers, and nats.replicas is %d" (int $nats.copies) (int $nats.replicas)) }}
{{- end -}}
{{- $nats.copies | default $nats.replicas }}
{{- end }}

{{- /* Rules and alerts know services by their job, which the operator would take from the Service's name. */ -}}
{{- define "fastgshare.jobs" -}}
{{- $component := list "__meta_kubernetes_pod_label_app_kubernetes_io_component" -}}
{{- list (dict "sourceLabels" $component "targetLabel" "job") (dict "sourceLabels" $component "regex" "node" "targetLabel" "job" "replacement" "node_manager") | toJson }}
{{- end }}
