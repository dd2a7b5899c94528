package queue

import (
	"strings"

	"decom/worker/scan"
)

// Streams and subjects of contract.md section 3.
const (
	StreamScans    = "DECOM_SCANS"
	StreamLedger   = "DECOM_LEDGER"
	StreamOutcomes = "DECOM_OUTCOMES"

	scanPrefix    = "decom.scan."
	ledgerPrefix  = "decom.ledger."
	outcomePrefix = "decom.outcome."

	headerLedger = "Decom-Ledger"
	headerMsgID  = "Nats-Msg-Id"

	priorityGroup = "w" // protocol.md section 2
)

// MaxAckPending is how many scans of one account may be out and not acked, over
// all processes (protocol.md section 2).
const MaxAckPending = 20_000

// Account is what the queue knows of an account: its name and the sites whose
// scans it answers for.
type Account struct {
	Name  string
	Sites []string
}

func scansConsumer(account string) string  { return "decom-" + account }
func outboxConsumer(account string) string { return "outbox-" + account }
func ledgerSubject(account string) string  { return ledgerPrefix + account }
func siteFilter(site string) string        { return scanPrefix + site + ".>" }

// siteOf returns the site of a consumer's filter, or "".
func siteOf(filter string) string {
	s, ok := strings.CutPrefix(filter, scanPrefix)
	if !ok {
		return ""
	}
	site, rest, _ := strings.Cut(s, ".")
	if rest != ">" || !scan.ValidToken(site) {
		return ""
	}
	return site
}

// maxDevice bounds in bytes what is kept of a DEVICE that is none. One of 4,040 bytes was seen to
// get its outcome all the same; the bound keeps such text out of metrics and the ledger.
const maxDevice = 256

// source splits SITE and DEVICE off a subject. What is no DEVICE (an MQTT topic can bring one with
// dots) stays recognisable: decoding rejects it, in public. The server takes any bytes in a
// subject, but metrics, JSON and the ledger hold UTF-8 only.
func source(subject, prefix string) (site, device string) {
	site, device, _ = strings.Cut(strings.TrimPrefix(subject, prefix), ".")
	if scan.ValidToken(device) {
		return site, device
	}
	return site, strings.ToValidUTF8(device[:min(len(device), maxDevice)], "\uFFFD")
}
