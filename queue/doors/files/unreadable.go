package files

import (
	"fmt"

	"decom/worker/scan"
)

// Unreadable says why a whole file cannot be read, in both languages, because a person puts
// it right.
type Unreadable struct{ Text scan.Text }

// Error is the English sentence.
func (u *Unreadable) Error() string { return u.Text.EN }

// unreadable makes an Unreadable; the values stand in both sentences.
func unreadable(fr, en string, args ...any) error {
	return &Unreadable{scan.Text{FR: fmt.Sprintf(fr, args...), EN: fmt.Sprintf(en, args...)}}
}
