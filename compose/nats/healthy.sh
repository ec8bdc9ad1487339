# Whether the server answers and JetStream is up; in a cluster, whether that has a leader and caught up.
exec 3<>/dev/tcp/127.0.0.1/8222
printf 'GET /healthz HTTP/1.0\r\n\r\n' >&3
grep -q '"status":"ok"' <&3
