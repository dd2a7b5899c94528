package worker

import (
	"context"
	"errors"

	"decom/worker/ledger"
)

// Both stores lost (protocol.md section 9, [B14]): nobody knows any more what was sent, and
// a process that starts cannot tell it from a first start. A person who knows says so, before
// the first start if possible, when no request can be on its way any more (T_HOLD): from then
// on each scan that would open its pack is verified first, as under `settle: e3`, and only
// a pack seen ACTIVE is sent. The evidence asked for after a doubt stays as configured. A
// small risk remains: what is still on its way, and what a stranger does in between.

// VerifyTool signs the records of [SetVerifyFirst].
const VerifyTool = "decom verify-first"

// ErrVerifyFirst: it is so already; nothing was written.
var ErrVerifyFirst = errors.New("it is so already")

// SetVerifyFirst has each pack of an account verified before its open, or ends that. It
// returns the fact's record. [ErrVerifyFirst]; others as those of [AppendFact]. For people's
// tools.
func SetVerifyFirst(ctx context.Context, records Records, store ControlStore, account string, on bool, p Person) (uint64, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	kind := ledger.VerifyEnd
	if on {
		kind = ledger.VerifyFirst
	}
	return AppendFact(ctx, records, account, VerifyTool, func(ctx context.Context, _ ledger.Head) (ledger.Fact, error) {
		now, err := ControlsOf(ctx, records, store, account)
		if err == nil && (now.Verify != nil) == on {
			err = ErrVerifyFirst
		}
		return ledger.Fact{Kind: kind, Who: p.Who, Why: p.Why}, err
	})
}

// verifiesFirst says whether a scan is opened only after a verify saw its pack ACTIVE.
func (l *loop) verifiesFirst() bool { return l.cfg.Settle == E3 || l.controls.Verify != nil }
