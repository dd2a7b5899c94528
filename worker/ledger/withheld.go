package ledger

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"decom/worker/scan"
)

// Lot names the packs of one batch of one product. It is comparable.
type Lot struct {
	Scheme scan.Scheme
	Code   string
	Batch  string
}

// LotOf returns the batch that a pack says it is of.
func LotOf(p scan.Pack) Lot { return Lot{p.Scheme(), p.Code(), p.Batch()} }

// Scope names what a [Withhold] is about: a batch, or a device. It is comparable.
type Scope struct {
	Lot    Lot    // zero: a device
	Device string // SITE/DEVICE; empty: a batch
}

// The kinds of scope, as metrics and records say them.
const (
	ScopeBatch  = "batch"
	ScopeDevice = "device"
)

// Kind returns one of [ScopeBatch] and [ScopeDevice].
func (s Scope) Kind() string {
	if s.Device != "" {
		return ScopeDevice
	}
	return ScopeBatch
}

// String returns the scope as records have it: "batch:SCHEME|CODE|LOT" or
// "device:SITE/DEVICE". No batch holds a bar: GS1's alphabet has none.
func (s Scope) String() string {
	if s.Device != "" {
		return ScopeDevice + ":" + s.Device
	}
	return ScopeBatch + ":" + string(s.Lot.Scheme) + "|" + s.Lot.Code + "|" + s.Lot.Batch
}

// ParseScope reads what [Scope.String] writes. Errors wrap [ErrRecord].
func ParseScope(text string) (Scope, error) {
	kind, name, _ := strings.Cut(text, ":")
	switch kind {
	case ScopeDevice:
		if site, device, ok := strings.Cut(name, "/"); ok && site != "" && device != "" && !strings.ContainsAny(device, "/") {
			return Scope{Device: name}, nil
		}
	case ScopeBatch:
		if p := strings.Split(name, "|"); len(p) == 3 {
			// A serial and an expiry are no part of it; they only make a pack that can be checked.
			if err := scan.CheckPack(scan.Scheme(p[0]), p[1], "X", p[2], "301231"); err == nil {
				return Scope{Lot: Lot{scan.Scheme(p[0]), p[1], p[2]}}, nil
			}
		}
	}
	return Scope{}, fmt.Errorf("%w: %q names neither a batch nor a device", ErrRecord, text)
}

// Withheld is a batch or a device of which nothing new is opened, with the record that
// says so.
type Withheld struct {
	Scope Scope `json:"-"` // as Control.Scope has it
	Standing
}

// MaxWithheld bounds how many scopes of each kind an account withholds: whoever writes one looks
// first. The fold keeps all that were written: a hold must not end because there are others.
const MaxWithheld = 200

// Withholds returns what is withheld at that time, oldest record first. The result is the
// caller's.
func (c *Controls) Withholds(now time.Time) []Withheld {
	var list []Withheld
	for i := range c.Withheld {
		if c.Withheld[i].Over(now) {
			continue
		}
		if s, err := ParseScope(c.Withheld[i].Control.Scope); err == nil {
			list = append(list, Withheld{Scope: s, Standing: c.Withheld[i]})
		}
	}
	return list
}

// Withholding says whether that scope is withheld at that time.
func (c *Controls) Withholding(s Scope, now time.Time) bool {
	if len(c.Withheld) == 0 {
		return false
	}
	text := s.String()
	return slices.ContainsFunc(c.Withheld, func(w Standing) bool { return w.Control.Scope == text && !w.Over(now) })
}

// withhold takes the newest word about one scope. Copies of c share the list, so a new one is
// made; what was over before the record is left out, or the list would only grow.
func (c *Controls) withhold(kind Kind, s Standing) {
	at := time.UnixMilli(recordTime(s.At))
	list := make([]Standing, 0, len(c.Withheld)+1)
	for _, w := range c.Withheld {
		if w.Control.Scope != s.Control.Scope && !w.Over(at) {
			list = append(list, w)
		}
	}
	if kind == Withhold {
		list = append(list, s)
	}
	c.Withheld = list
}

// SetsControls says that a fact of this kind is one that [Controls] reads.
func (k Kind) SetsControls() bool {
	switch k {
	case Pause, Tune, Continue, VerifyFirst, VerifyEnd, Withhold, LetGo:
		return true
	}
	return false
}
