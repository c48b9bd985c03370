{{/* A pod of a Ray cluster: dict "top" . "head" bool "gateway" bool "gpus" n "resources" … "claim" name */}}
{{- define "aimds.rayPod" -}}
{{- $top := .top -}}
{{- $image := include "aimds.image" (list $top (ternary "-ray-gpu" "-ray" (gt (int .gpus) 0))) -}}
metadata:
  labels:
    {{- include "aimds.labels" $top | nindent 4 }}
    aimds-release: {{ include "aimds.name" $top }}
    aimds-ray: "true"
    {{- if .gateway }}
    aimds-part: gateway
    {{- end }}
spec:
  # Only Ray's autoscaler, beside the head, asks the API server.
  automountServiceAccountToken: {{ and .head $top.Values.ray.autoscaling }}
  enableServiceLinks: false
  {{- if .gateway }}
  terminationGracePeriodSeconds: {{ include "aimds.drained" $top }}
  {{- end }}
  securityContext: {{- include "aimds.podSecurity" $top | nindent 4 }}
  {{- include "aimds.placement" $top | nindent 2 }}
  containers:
    - name: ray
      image: {{ $image }}
      imagePullPolicy: {{ $top.Values.image.pullPolicy }}
      securityContext: {{- include "aimds.containerSecurity" $top | nindent 8 }}
      env:
        - {name: RAY_USAGE_STATS_ENABLED, value: "0"}
      resources: {{- toYaml .resources | nindent 8 }}
      # In the place of KubeRay's own, which need wget and Ray's dashboard in the image.
      livenessProbe:
        tcpSocket: {port: {{ ternary 6379 6380 .head }}}
        initialDelaySeconds: 60
        periodSeconds: 10
        failureThreshold: 6
      readinessProbe:
        tcpSocket: {port: {{ ternary 6379 6380 .head }}}
        periodSeconds: 5
      volumeMounts:
        {{- include "aimds.rayMounts" . | nindent 8 }}
    {{- if .gateway }}
    # A driver has to be on a machine of the cluster: it shares the sockets and the object store of the head.
    {{- include "aimds.gatewayContainer" (list $top (list "--ray") (list (dict "name" "shm" "mountPath" "/dev/shm") (dict "name" "ray-logs" "mountPath" "/tmp/ray")) $image dict) | nindent 4 }}
    {{- end }}
  volumes:
    {{- if .gateway }}
    {{- include "aimds.readVolumes" $top | nindent 4 }}
    {{- end }}
    - name: shm
      emptyDir: {medium: Memory, sizeLimit: 2Gi}
    - name: tmp
      emptyDir: {sizeLimit: 4Gi}
    # KubeRay mounts a volume of this name into the autoscaler; sockets of the session lie in it.
    - name: ray-logs
      emptyDir: {sizeLimit: 4Gi}
    - name: cache
      emptyDir: {sizeLimit: 1Gi}
    {{- with .claim }}
    - name: data
      persistentVolumeClaim: {claimName: {{ . }}}
    {{- end }}
{{- end }}

{{- define "aimds.rayMounts" -}}
- {name: shm, mountPath: /dev/shm}
- {name: tmp, mountPath: /tmp}
- {name: ray-logs, mountPath: /tmp/ray}
- {name: cache, mountPath: /var/cache/aimds}
{{- if .claim }}
- {name: data, mountPath: /data}
{{- end }}
{{- end }}

{{/* The spec of a RayCluster: dict "top" . "gateway" bool "claim" name */}}
{{- define "aimds.rayCluster" -}}
{{- $top := .top -}}
{{- $ray := $top.Values.ray -}}
rayVersion: {{ $ray.version | quote }}
{{- if $ray.autoscaling }}
enableInTreeAutoscaling: true
autoscalerOptions:
  securityContext: {{- include "aimds.containerSecurity" $top | nindent 4 }}
{{- end }}
headGroupSpec:
  # No actors on the head: its cores are the gateway's, or those of who hands out the work.
  rayStartParams:
    num-cpus: "0"
    {{- if .gateway }}
    include-dashboard: "false"
    {{- else }}
    dashboard-host: 0.0.0.0
    {{- end }}
  template: {{- include "aimds.rayPod" (dict "top" $top "head" true "gateway" .gateway "gpus" 0 "resources" $ray.head.resources "claim" .claim) | nindent 4 }}
workerGroupSpecs:
  {{- $claim := .claim }}
  {{- range $ray.groups }}
  {{- $limits := dict "cpu" (.cpu | toString) "memory" .memory }}
  {{- if .gpus }}{{ $_ := set $limits "nvidia.com/gpu" (.gpus | toString) }}{{ end }}
  - groupName: {{ .name }}
    replicas: {{ .replicas }}
    minReplicas: {{ .min }}
    maxReplicas: {{ .max }}
    # A fixed port, which the probes look at.
    rayStartParams: {node-manager-port: "6380"}
    template: {{- include "aimds.rayPod" (dict "top" $top "head" false "gateway" false "gpus" .gpus "resources" (dict "requests" (dict "cpu" (.cpu | toString) "memory" .memory) "limits" $limits) "claim" $claim) | nindent 6 }}
  {{- end }}
{{- end }}
