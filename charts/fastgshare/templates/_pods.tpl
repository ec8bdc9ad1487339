{{- /* What pods have in common: nothing is written but to volumes, nothing needs a right of its own. */ -}}

{{- define "fastgshare.pod" -}}
automountServiceAccountToken: false
serviceAccountName: {{ include "fastgshare.name" . }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ add .Values.drainSeconds 5 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "fastgshare.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "fastgshare.spread" -}}
- maxSkew: 1
  topologyKey: kubernetes.io/hostname
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "fastgshare.selector" . | nindent 6 }}
{{- end }}

{{- /* The environment of a service: the bus as `user`, telemetry, and what `env` adds. */ -}}
{{- define "fastgshare.env" -}}
- {name: FASTGSHARE_NATS_URL, value: {{ include "fastgshare.bus" . | quote }}}
- {name: FASTGSHARE_NATS_PASSWORD_FILE, value: /run/credentials/password}
- {name: FASTGSHARE_LOG_LEVEL, value: {{ .root.Values.logLevel | quote }}}
- {name: FASTGSHARE_DRAIN_S, value: {{ .root.Values.drainSeconds | quote }}}
- {name: FASTGSHARE_METRICS_HOST, value: 0.0.0.0}
- {name: FASTGSHARE_METRICS_PORT, value: {{ .root.Values.telemetry.metricsPort | quote }}}
{{- with .root.Values.telemetry.otlpEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := .env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "fastgshare.mounts" -}}
- {name: credentials, mountPath: /run/credentials, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "fastgshare.volumes" -}}
- name: credentials
  secret:
    secretName: {{ include "fastgshare.secret" .root }}
    defaultMode: 0440
    items: [{key: {{ .user }}, path: password}]
- name: tmp
  emptyDir: {sizeLimit: {{ .tmp | default "256Mi" }}}
{{- end }}

{{- /* A service writes its health file every second or so; one that stops has hung. */ -}}
{{- define "fastgshare.probes" -}}
startupProbe:
  exec: {command: &alive [sh, -c, 'test -n "$(find "$FASTGSHARE_HEALTH_FILE" -mmin -0.2)"']}
  periodSeconds: 2
  failureThreshold: 60
readinessProbe:
  exec: {command: *alive}
  periodSeconds: 5
livenessProbe:
  exec: {command: *alive}
  periodSeconds: 10
  failureThreshold: 6
  timeoutSeconds: 5
{{- end }}
