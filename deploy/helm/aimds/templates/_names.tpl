{{- define "aimds.name" -}}
{{- if contains "aimds" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-aimds" (.Release.Name | trunc 34 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "aimds.labels" -}}
app.kubernetes.io/name: aimds
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What selects pods: of the release, and of its gateway. KubeRay puts a name of its own into app.kubernetes.io/name. */}}
{{- define "aimds.release" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
aimds-release: {{ include "aimds.name" . }}
{{- end }}
{{- define "aimds.gateway" -}}
{{ include "aimds.release" . }}
aimds-part: gateway
{{- end }}

{{/* Image with the ending of the variant: list . "-ray" */}}
{{- define "aimds.image" -}}
{{- $top := index . 0 -}}
{{- with $top.Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default (printf "%s%s" $top.Chart.AppVersion (index $ 1)) }}{{ end }}
{{- end }}
{{- end }}

{{- define "aimds.insist" -}}
{{- $v := .Values -}}
{{- $jwt := $v.auth.jwt -}}
{{- if ne (empty $jwt.issuer) (empty $jwt.audience) }}{{ fail "auth.jwt: issuer and audience go together" }}{{ end }}
{{- if and $jwt.issuer (eq (empty $v.secrets.jwks) (empty $jwt.address)) }}{{ fail "auth.jwt: the keys come from secrets.jwks or from auth.jwt.address, one of the two" }}{{ end }}
{{- if and $jwt.address $v.networkPolicy.enabled (empty $v.networkPolicy.egress) }}{{ fail "auth.jwt.address: the gateway can reach it only with a rule in networkPolicy.egress" }}{{ end }}
{{- if and $v.auth.certificates.required (not $v.secrets.clientCa) }}{{ fail "auth.certificates.required: secrets.clientCa is needed" }}{{ end }}
{{- if and $v.auth.certificates.clients (not $v.secrets.clientCa) }}{{ fail "auth.certificates.clients: secrets.clientCa is needed" }}{{ end }}
{{- if not (or $v.secrets.keys $v.secrets.clientCa $jwt.issuer) }}{{ fail "nobody could sign in: set secrets.keys, secrets.clientCa or auth.jwt" }}{{ end }}
{{- $review := $v.settings.review | default dict -}}
{{- if and $v.settings.review (eq (empty $v.secrets.reviewQueue) (empty $review.path)) }}{{ fail "settings.review: the queue is the file path or the database of secrets.reviewQueue, one of the two" }}{{ end }}
{{- if and $v.secrets.reviewQueue $v.networkPolicy.enabled (empty $v.networkPolicy.egress) }}{{ fail "secrets.reviewQueue: the gateway can reach the database only with a rule in networkPolicy.egress" }}{{ end }}
{{- if and (or $v.settings.audit $review.path $v.settings.respond) (not $v.persistence.enabled) }}{{ fail "settings.audit, review and respond write files that have to stay: set persistence.enabled" }}{{ end }}
{{- if and $v.persistence.enabled (eq $v.mode "ray") }}{{ fail "persistence: a gateway beside a Ray head keeps no files; use mode plain" }}{{ end }}
{{- if and $v.ray.autoscaling (not $v.ray.apiServer.cidr) }}{{ fail "ray.autoscaling: ray.apiServer.cidr is needed, since Ray's autoscaler asks the API server" }}{{ end }}
{{- if and (eq $v.mode "plain") $v.gpu.enabled (lt (int $v.workers) (int $v.gpu.count)) }}{{ fail "gpu.count: a process takes one GPU, so workers must be at least as many" }}{{ end }}
{{- if gt (int $v.autoscaling.min) (int $v.autoscaling.max) }}{{ fail "autoscaling: min is above max" }}{{ end }}
{{- end }}
