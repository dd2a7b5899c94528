{{- define "decom.labels" -}}
app.kubernetes.io/name: decom
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "decom.selector" -}}
app.kubernetes.io/name: decom
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "decom.configuration" -}}
{{- $own := dict "dir" "/data" "http" (dict "listen" "0.0.0.0:8080") "log" (dict "format" "json") -}}
{{- toYaml (mergeOverwrite $own (deepCopy .Values.config)) -}}
{{- end }}

{{/* What worker and setup job have in common: nobody's user, nothing to write but /data. */}}
{{- define "decom.pod" -}}
# Kubernetes would inject a DECOM_PORT variable for a service called decom, and the
# program reads variables of that prefix.
enableServiceLinks: false
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: config
    configMap: {name: {{ .Release.Name }}-decom}
  - name: secrets
    secret: {secretName: {{ .Values.secretName }}, defaultMode: 0440}
  - name: data
    emptyDir: {sizeLimit: 64Mi}
{{- end }}

{{- define "decom.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: DECOM_CONFIG, value: /etc/decom/config/decom.yaml}
volumeMounts:
  - {name: config, mountPath: /etc/decom/config, readOnly: true}
  - {name: secrets, mountPath: /etc/decom/secrets, readOnly: true}
  - {name: data, mountPath: /data}
{{- end }}
