package worker

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"decom/queue"
	"decom/worker/ledger"
)

// refusing is a ledger whose appends all end in err.
type refusing struct {
	Records
	err error
}

func (r refusing) Append(context.Context, ledger.Head, []byte) (ledger.Head, error) {
	return ledger.Head{}, r.err
}

// Two workers see the same third alert, and both write the halt: one of them loses. That is
// no trouble that status should show.
func TestALostRaceForTheHaltIsNoTrouble(t *testing.T) {
	for err, want := range map[error]int{queue.ErrLost: 0, errors.New("no responders"): 1} {
		troubles := 0
		a := &Account{cfg: Config{Account: "chu", Worker: "w#1"}, log: slog.New(slog.DiscardHandler),
			deps: Deps{Records: refusing{err: err}, Hooks: Hooks{Trouble: func(string, error) { troubles++ }}}}
		(&loop{Account: a, cfg: a.cfg}).recordHalt(t.Context(), "too many alerts")
		if troubles != want {
			t.Errorf("%v: %d troubles, want %d", err, troubles, want)
		}
	}
}
