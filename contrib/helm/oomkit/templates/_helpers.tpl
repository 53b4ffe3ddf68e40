{{- define "oomkit.labels" -}}
app.kubernetes.io/name: oomkit
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: guard
{{- end -}}
