#!/usr/bin/env bash
# Stores one scan through decom's HTTP door, with curl.
#
#   TOKEN=decom_... ./scan-http.sh http://127.0.0.1:8090 KEY SCAN
#   TOKEN=decom_... ./scan-http.sh http://127.0.0.1:8090 rowa-1-000017 $']d20103400930000007217X4F8L2\x1d17281100\x1d10LOT42'
#
# KEY is the scan's id: unique for this device, and the same when the scan is sent again.
# Exit code 0 only when it is stored. What the robot should learn: GET /v1/outcomes.
set -euo pipefail
[ $# -eq 3 ] && [ -n "${TOKEN:-}" ] || { sed -n '2,8p' "$0" >&2; exit 2; }
url="$1" key="$2" scan="$3"

for try in 1 2 3 4 5; do
  # --data-binary: --data would take line ends away. 000 is curl's own word for no answer.
  answer="$(printf '%s' "$scan" | curl --silent --max-time 10 --write-out '\n%{http_code}' "$url/v1/scans" \
    -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: $key" -H 'Content-Type: text/plain' --data-binary @- || true)"
  status="${answer##*$'\n'}" body="${answer%$'\n'*}"
  case "$status" in
  202) printf '%s\n' "$body"; exit 0 ;;
  000 | 408 | 429 | 5??) sleep "$try" ;; # not known to be stored: the same again, under the same key
  *) printf '%s\n' "$body" >&2; exit 1 ;;
  esac
done
printf 'not stored: %s %s\n' "$status" "$body" >&2
exit 1
