{{- define "aimds.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "aimds.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "aimds.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- define "aimds.probe" -}}
{{- if index . 0 }}tcpSocket: {port: https}{{ else }}httpGet: {path: {{ index . 1 }}, port: https, scheme: HTTPS}{{ end }}
{{- end }}

{{/* What the gateway reads: mounted as files, so that a changed secret arrives without a restart. */}}
{{- define "aimds.readMounts" -}}
- {name: config, mountPath: /etc/aimds/config, readOnly: true}
- {name: tls, mountPath: /etc/aimds/tls, readOnly: true}
{{- range $name := list "keys" "clientCa" "jwks" "audit" "reviewQueue" }}
{{- if index $.Values.secrets $name }}
- {name: {{ lower $name }}, mountPath: /etc/aimds/{{ lower $name }}, readOnly: true}
{{- end }}
{{- end }}
{{- end }}

{{- define "aimds.readVolumes" -}}
- name: config
  configMap: {name: {{ include "aimds.name" . }}}
{{- range $name := list "tls" "keys" "clientCa" "jwks" "audit" "reviewQueue" }}
{{- with index $.Values.secrets $name }}
- name: {{ lower $name }}
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- end }}

{{/* list . (more arguments) (more mounts) (image) (limits) */}}
{{- define "aimds.gatewayContainer" -}}
{{- $top := index . 0 -}}
{{- $resources := deepCopy $top.Values.resources -}}
{{- $limits := merge (index . 4) ($resources.limits | default dict) -}}
{{- $_ := set $resources "limits" $limits -}}
- name: gateway
  image: {{ index . 3 }}
  imagePullPolicy: {{ $top.Values.image.pullPolicy }}
  command: [aimds]
  args: {{ concat (list "serve" "--config" "/etc/aimds/config/serve.toml") (index . 1) | toJson }}
  ports:
    - {name: quic, containerPort: 8443, protocol: UDP}
    - {name: https, containerPort: 8443, protocol: TCP}
  securityContext: {{- include "aimds.containerSecurity" $top | nindent 4 }}
  {{- $isRay := eq $top.Values.mode "ray" }}
  {{- if or $isRay $top.Values.secrets.reviewQueue }}
  env:
    {{- if $isRay }}
    - {name: RAY_USAGE_STATS_ENABLED, value: "0"}
    {{- end }}
    {{- if $top.Values.secrets.reviewQueue }}
    - {name: PGSERVICEFILE, value: /etc/aimds/reviewqueue/pg_service.conf}
    # A server has to show a certificate for its name, unless the service says something else.
    - {name: PGSSLMODE, value: verify-full}
    {{- end }}
  {{- end }}
  resources: {{- toYaml $resources | nindent 4 }}
  # The first start on a machine compiles.
  startupProbe:
    {{ include "aimds.probe" (list $top.Values.auth.certificates.required "/healthz") }}
    periodSeconds: 5
    failureThreshold: 120
  livenessProbe:
    {{ include "aimds.probe" (list $top.Values.auth.certificates.required "/healthz") }}
    periodSeconds: 10
    timeoutSeconds: 5
  readinessProbe:
    {{ include "aimds.probe" (list $top.Values.auth.certificates.required "/readyz") }}
    periodSeconds: 5
    timeoutSeconds: 5
  # Time in which load balancers learn that nothing new may come here.
  lifecycle:
    preStop: {sleep: {seconds: 5}}
  volumeMounts:
    {{- include "aimds.readMounts" $top | nindent 4 }}
    - {name: cache, mountPath: /var/cache/aimds}
    - {name: tmp, mountPath: /tmp}
    {{- range index . 2 }}
    - {{ toJson . }}
    {{- end }}
{{- end }}

{{- define "aimds.reloadContainer" -}}
{{- $folders := list "/etc/aimds/config" "/etc/aimds/tls" -}}
{{- range $name := list "keys" "clientCa" "jwks" }}{{ if index $.Values.secrets $name }}{{ $folders = append $folders (printf "/etc/aimds/%s" (lower $name)) }}{{ end }}{{ end -}}
- name: reload
  image: {{ index .Images 0 }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command: [python3, /etc/aimds/reload/reload.py]
  args: {{ concat (list (printf "%v" .Values.reload.everySeconds)) $folders | toJson }}
  securityContext: {{- include "aimds.containerSecurity" . | nindent 4 }}
  resources:
    requests: {cpu: 10m, memory: 32Mi}
    limits: {memory: 64Mi}
  volumeMounts:
    {{- range $name := list "config" "tls" "keys" "clientCa" "jwks" }}
    {{- if or (eq $name "config") (index $.Values.secrets $name) }}
    - {name: {{ lower $name }}, mountPath: /etc/aimds/{{ lower $name }}, readOnly: true}
    {{- end }}
    {{- end }}
    - {name: reload, mountPath: /etc/aimds/reload, readOnly: true}
{{- end }}

{{- define "aimds.drained" -}}
{{- add .Values.drainSeconds 20 }}
{{- end }}
