{{- define "oomkit.labels" -}}
app.kubernetes.io/name: oomkit
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: guard
{{- end -}}

{{- define "oomkit.nameDirectories" -}}
{{- if .Values.names.enabled -}}
{{- concat (list "/var/log/pods" "/var/log/containers") .Values.names.runtimeDirectories | toJson -}}
{{- else -}}
[]
{{- end -}}
{{- end }}
