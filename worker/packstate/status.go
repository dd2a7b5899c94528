package packstate

import "fmt"

// Status is what Redis says to a caller's belief (protocol.md section 2.3).
type Status uint8

// The statuses. The zero Status is none of them, so that a forgotten
// assignment never permits anything.
const (
	OK     Status = iota + 1 // the belief is the head; an apply was written
	Same                     // the record is the head already; nothing was written
	Stale                    // Redis is behind the belief, or holds no head
	Ahead                    // Redis is ahead of the belief
	Fork                     // same place, other history
	Halted                   // a person must let the account go on
)

var statusNames = [...]string{OK: "ok", Same: "same", Stale: "stale", Ahead: "ahead", Fork: "fork", Halted: "halted"}

// String returns the word used in logs and on screens.
func (s Status) String() string {
	if int(s) < len(statusNames) && statusNames[s] != "" {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

// Sends says whether the status of an apply permits sending what it opened
// (protocol.md section 3, S5).
func (s Status) Sends() bool { return s == OK || s == Same }

// parseStatus reads a script's word.
func parseStatus(word string) (Status, error) {
	for i, n := range statusNames {
		if n == word && n != "" {
			return Status(i), nil
		}
	}
	return 0, fmt.Errorf("a script answered %q", word)
}
