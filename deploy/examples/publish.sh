#!/usr/bin/env bash
# Publishes one scan event to decom and waits until the stream has stored it.
#
#   ./publish.sh HOST PORT SITE DEVICE SCAN
#   ./publish.sh 127.0.0.1 4222 chu-nord desk $']d20103400930000007217X4F8L2\x1d17281100\x1d10LOT42'
#
# Bash and nothing else (/dev/tcp): no login, no TLS. A device wants a real client
# library; this shows what goes over the wire. Exit code 0 only when it is stored.
#
# A republication after a lost answer must be the same event: set ID and AT to repeat one
# by hand. A device must keep both until the stream has answered.
set -euo pipefail
export LC_ALL=C # lengths are bytes
[ $# -eq 5 ] || { sed -n '2,6p' "$0" >&2; exit 2; }
host="$1" port="$2" site="$3" device="$4" scan="$5"

# One id for this scan, for ever; the device's clock with its zone.
id="${ID:-$device-$(date +%s%N)-$RANDOM}"
at="${AT:-$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)}"

# JSON: a control character may not stand in a string as it is. GS (0x1D) is the one
# that a pack's Data Matrix has.
text="${scan//\\/\\\\}"
text="${text//\"/\\\"}"
text="${text//$'\x1d'/\\u001d}"
body="{\"v\":1,\"id\":\"$id\",\"op\":\"supply\",\"scan\":\"$text\",\"at\":\"$at\"}"
header=$'NATS/1.0\r\nNats-Msg-Id: '"$id"$'\r\n\r\n'
inbox="_INBOX.$RANDOM$RANDOM$RANDOM"

exec 3<>"/dev/tcp/$host/$port"
# verbose:false, so that nothing but the answer comes; no_responders, so that a subject
# which no stream takes is said at once.
printf 'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"name":"publish.sh","lang":"bash","version":"1"}\r\n' >&3
printf 'SUB %s 1\r\n' "$inbox" >&3

for try in 1 2 3; do
  printf 'HPUB decom.scan.%s.%s %s %d %d\r\n%s%s\r\n' "$site" "$device" "$inbox" "${#header}" $((${#header} + ${#body})) "$header" "$body" >&3
  while IFS= read -r -t 5 line <&3; do
    line="${line%$'\r'}"
    case "$line" in
    PING) printf 'PONG\r\n' >&3 ;;
    "-ERR"*) echo "refused by the server: $line" >&2; exit 1 ;;
    HMSG*)
      echo "no stream takes decom.scan.$site.$device: has decom setup been run?" >&2
      exit 1
      ;;
    MSG*)
      IFS= read -r -t 5 answer <&3
      answer="${answer%$'\r'}"
      case "$answer" in
      *'"error"'*) echo "not stored: $answer" >&2; exit 1 ;;
      *'"stream":"DECOM_SCANS"'*) echo "stored: id $id at $at, $answer"; exit 0 ;;
      esac
      echo "not stored by DECOM_SCANS: $answer" >&2
      exit 1
      ;;
    esac
  done
  echo "no answer within 5 s (try $try): it may be stored or not, the same event is sent again" >&2
done
echo "not known to be stored: publish it again with ID=$id AT=$at" >&2
exit 1
