package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Entry is one line of the ledger, the judge of tests: what one call did to
// one pack. A bulk has one line for its submit (without serial) and one per
// pack when it is carried out.
type Entry struct {
	N       uint64    `json:"n"` // from 1, without gaps
	At      time.Time `json:"at"`
	Client  string    `json:"client,omitempty"` // ClientLoginId; empty for a ping and for accounts that do not exist
	User    string    `json:"user,omitempty"`
	Op      string    `json:"op"`              // operation code; of the item in a mixed bulk; "" if the root element is unknown
	C       string    `json:"c,omitempty"`     // ClientTrxId; of the item in a mixed bulk
	Tx      string    `json:"tx,omitempty"`    // NMVSTrxId
	Key     Key       `json:"key"`             // zero if no pack was looked at
	Effect  bool      `json:"effect"`          // the pack's state changed
	Code    string    `json:"code,omitempty"`  // what was, or would have been, answered
	Alert   string    `json:"alert,omitempty"` // kind, A3 ...
	AlertID string    `json:"alert_id,omitempty"`
	Twice   bool      `json:"twice,omitempty"` // a change on a pack that this account had changed already, or an undo of nothing: the worker's fault
	Fault   string    `json:"fault,omitempty"` // injected: "before hang", "after reset" ...
	Late    bool      `json:"late,omitempty"`  // carried out after the answer (a late copy) or by a bulk
	// Answered says that the whole reply was handed to the connection. It does
	// not say that it arrived.
	Answered bool `json:"answered"`
}

// row is an entry in memory: about 110 bytes and the ClientTrxId.
type row struct {
	at      int64
	cid     string
	serial  string
	tx      txID
	product *product
	account *account // nil: nobody known by that name
	op      *operation
	alert   uint64 // number of the alert; 0 none
	code    uint16
	fault   uint16
	kind    uint16
	flags   uint8
}

const (
	rowEffect uint8 = 1 << iota
	rowTwice
	rowLate
	rowAnswered
)

// book is the ledger with its counts. Guarded by Sim.mu.
type book struct {
	rows  []row
	first uint64 // number of rows[0]
	last  uint64
	words []string // code, fault and kind words by number
	index map[string]uint16
	c     Counts
}

func newBook() book {
	return book{first: 1, words: []string{""}, index: map[string]uint16{"": 0}, c: Counts{
		Calls: map[string]int{}, Codes: map[string]int{}, Effects: map[string]int{}, Alerts: map[string]int{}, Faults: map[string]int{},
	}}
}

func (b *book) word(w string) uint16 {
	i, ok := b.index[w]
	if !ok {
		i = uint16(len(b.words))
		if len(b.words) == 1<<16 {
			return 0 // 65,535 words were made up by fault scripts: enough
		}
		b.words = append(b.words, w)
		b.index[w] = i
	}
	return i
}

// add appends a row and returns its number.
func (b *book) add(r row, limit int) uint64 {
	b.last++
	switch {
	case limit < 0:
		b.rows, b.first = nil, b.last+1
		return b.last
	case limit > 0 && len(b.rows) >= 2*limit:
		drop := len(b.rows) - limit + 1
		n := copy(b.rows, b.rows[drop:])
		clear(b.rows[n:])
		b.rows = b.rows[:n]
		b.first += uint64(drop)
	}
	b.rows = append(b.rows, r)
	return b.last
}

func (b *book) at(n uint64) *row {
	if n < b.first || n > b.last || n == 0 {
		return nil
	}
	return &b.rows[n-b.first]
}

// Ledger returns every entry that is kept, oldest first.
func (s *Sim) Ledger() []Entry { return s.LedgerSince(0) }

// LedgerSince returns the kept entries with N greater than n, oldest first.
func (s *Sim) LedgerSince(n uint64) []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	b := &s.book
	from := max(n+1, b.first)
	if from > b.last {
		return nil
	}
	list := make([]Entry, 0, b.last-from+1)
	for i := from; i <= b.last; i++ {
		list = append(list, s.entry(i, b.at(i)))
	}
	return list
}

func (s *Sim) entry(n uint64, r *row) Entry {
	e := Entry{
		N: n, At: time.Unix(0, r.at).UTC(), C: r.cid, Tx: r.tx.String(), Code: s.book.words[r.code],
		Alert: s.book.words[r.kind], Fault: s.book.words[r.fault], Effect: r.flags&rowEffect != 0,
		Twice: r.flags&rowTwice != 0, Late: r.flags&rowLate != 0, Answered: r.flags&rowAnswered != 0,
	}
	if r.account != nil {
		e.Client, e.User = r.account.ClientLoginID, r.account.UserID
	}
	if r.op != nil {
		e.Op = r.op.Code
	}
	if r.product != nil {
		e.Key = Key{r.product.scheme, r.product.code, r.serial}
		if r.alert != 0 {
			e.AlertID = s.alertID(r.alert, r.product.market)
		}
	}
	return e
}

// Counts sums up everything since the start or the last reset.
type Counts struct {
	Calls   map[string]int `json:"calls"`   // arrived, by operation code; "invalid" if the root element is unknown
	Codes   map[string]int `json:"codes"`   // return codes given, per pack in bulks
	Effects map[string]int `json:"effects"` // changes of packs, by operation code
	Alerts  map[string]int `json:"alerts"`  // by kind
	Faults  map[string]int `json:"faults"`  // injected, by name

	// SentTwice counts changes that reached a pack which the same account had
	// already made inactive; UndoTwice undos that reached a pack which the same
	// account had already undone. Both must be 0, whatever the faults.
	SentTwice int `json:"sent_twice"`
	UndoTwice int `json:"undo_twice"`
	// SelfAlerts counts the alerts that those calls raised.
	SelfAlerts int `json:"self_alerts"`

	TooFast      int `json:"too_fast"`    // frequency violations
	Maintained   int `json:"maintained"`  // calls refused by maintenance
	Unanswered   int `json:"unanswered"`  // calls whose reply was not written whole
	LateCopies   int `json:"late_copies"` // calls carried out after their answer
	Bulks        int `json:"bulks"`       // submits accepted
	BulksDone    int `json:"bulks_done"`
	BulksLate    int `json:"bulks_late"`    // had to queue for capacity
	BulksParked  int `json:"bulks_parked"`  // waited through maintenance
	BulksCrashed int `json:"bulks_crashed"` // stopped half-way
	Packs        int `json:"packs"`         // in the store
	Entries      int `json:"entries"`       // written to the ledger, kept or not
}

// Counts returns the counts; the maps are the caller's.
func (s *Sim) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	c := s.book.c
	for _, m := range []*map[string]int{&c.Calls, &c.Codes, &c.Effects, &c.Alerts, &c.Faults} {
		n := make(map[string]int, len(*m))
		maps.Copy(n, *m)
		*m = n
	}
	c.Entries = int(s.book.last)
	for _, p := range s.products {
		c.Packs += len(p.packs)
	}
	return c
}

// ReasonState is one reason that holds against a pack.
type ReasonState struct {
	Reason string    `json:"reason"`
	Client string    `json:"client,omitempty"` // empty: a stranger, or the system itself
	User   string    `json:"user,omitempty"`
	At     time.Time `json:"at,omitzero"`
	C      string    `json:"c,omitempty"`
}

// PackState is what the store knows of one pack, and the verdict on it.
type PackState struct {
	Key     Key           `json:"key"`
	Batch   string        `json:"batch"`
	Expiry  string        `json:"expiry"`
	Market  string        `json:"market"`
	State   string        `json:"state"` // ACTIVE or INACTIVE
	Reasons []ReasonState `json:"reasons"`

	Decommissions int `json:"decommissions"` // changes that took effect
	Undos         int `json:"undos"`         // undos that took effect
	Alerts        int `json:"alerts"`
	Twice         int `json:"twice"`      // as Counts.SentTwice
	UndoTwice     int `json:"undo_twice"` // as Counts.UndoTwice
}

// Pack returns one pack; false if the store does not know it.
func (s *Sim) Pack(k Key) (PackState, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	p := s.products[k.Scheme+"|"+k.Code]
	if p == nil || p.packs[k.Serial] == nil {
		return PackState{}, false
	}
	return s.packState(p.packs[k.Serial]), true
}

func (s *Sim) packState(p *pack) PackState {
	st := PackState{
		Key: Key{p.product.scheme, p.product.code, p.serial}, Batch: p.batch.id, Expiry: p.batch.expiry, Market: p.product.market,
		State: "ACTIVE", Decommissions: int(p.decommissions), Undos: int(p.undos), Alerts: int(p.alerts),
		Twice: int(p.twice), UndoTwice: int(p.undoTwice),
	}
	for i, reason := range s.reasons(p, s.now()) {
		st.State = "INACTIVE"
		r := ReasonState{Reason: reason}
		if i < len(p.marks) {
			m := p.marks[i]
			r.At, r.C = m.at, m.cid
			if m.account != nil {
				r.Client, r.User = m.account.ClientLoginID, m.account.UserID
			}
		}
		st.Reasons = append(st.Reasons, r)
	}
	return st
}

// Verdict judges a run. Clean means: nothing was sent twice, nothing undone
// twice, and no alert was the worker's own fault.
type Verdict struct {
	Clean bool        `json:"clean"`
	Bad   []PackState `json:"bad"` // packs that were sent or undone twice, at most 1,000
	// Counts as at the same moment.
	Counts Counts `json:"counts"`
}

// Verdict looks at every pack.
func (s *Sim) Verdict() Verdict {
	v := Verdict{Counts: s.Counts()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.products {
		for _, pk := range p.packs {
			if pk.twice+pk.undoTwice > 0 && len(v.Bad) < 1000 {
				v.Bad = append(v.Bad, s.packState(pk))
			}
		}
	}
	slices.SortFunc(v.Bad, func(a, b PackState) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	v.Clean = v.Counts.SentTwice == 0 && v.Counts.UndoTwice == 0 && v.Counts.SelfAlerts == 0
	return v
}

// String says it in one line.
func (v Verdict) String() string {
	if v.Clean {
		return "clean: nothing sent twice, no alert of our own making"
	}
	return fmt.Sprintf("not clean: %d sent twice, %d undone twice, %d alerts of our own making", v.Counts.SentTwice, v.Counts.UndoTwice, v.Counts.SelfAlerts)
}
