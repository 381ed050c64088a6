{{- define "mlgate.labels" -}}
app.kubernetes.io/name: {{ .Release.Name }}
{{- end }}

{{- define "mlgate.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
