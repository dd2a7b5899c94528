package scan

import "time"

// Result is how a scan event ended: a closed set (contract.md section 5).
type Result string

// The results.
const (
	Done       Result = "done"       // NMVS carried the operation out
	Duplicate  Result = "duplicate"  // already so, by us; nothing was sent
	Refused    Result = "refused"    // a rule says no; nothing changed
	Alert      Result = "alert"      // potential falsification: quarantine the pack
	Rejected   Result = "rejected"   // the scan cannot be trusted; never sent
	Unresolved Result = "unresolved" // a person must look
)

// Reason is a stable word inside a result: a metric label, a log key, the word
// in tests. The closed set stands in message.go with its texts.
type Reason string

// Outcome is the one final answer to a scan event (contract.md section 5).
type Outcome struct {
	V            int      `json:"v"`
	EventID      string   `json:"event_id"`
	Site         string   `json:"site"`
	Device       string   `json:"device"`
	Account      string   `json:"account"`
	Op           Op       `json:"op"`
	Pack         *Pack    `json:"pack,omitempty"`
	Result       Result   `json:"result"`
	Reason       Reason   `json:"reason"`
	Code         string   `json:"code"`
	State        string   `json:"state"`
	StateReasons []string `json:"state_reasons"`
	AlertID      string   `json:"alert_id"`
	ClientTrxID  string   `json:"client_trx_id"`
	NMVSTrxID    string   `json:"nmvs_trx_id"`
	Attempts     int      `json:"attempts"`
	NMVSAt       string   `json:"nmvs_at"`
	At           string   `json:"at"`
	Repaired     bool     `json:"repaired,omitempty"`
	Offset       *int     `json:"offset,omitempty"` // of a rejected scan: the byte where reading ended
	Detail       string   `json:"detail,omitempty"` // of a rejected scan: field and fault, English, for whoever programs the device
	Ref          string   `json:"ref,omitempty"`
	Operator     string   `json:"operator,omitempty"`
	ATD          *bool    `json:"atd_checked,omitempty"`
	Message      Text     `json:"message"`
}

// Text is a sentence for people, in both languages.
type Text struct {
	FR string `json:"fr"`
	EN string `json:"en"`
}

// Time prints t as outcomes and records do: RFC 3339, UTC, milliseconds; zero is "".
func Time(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
