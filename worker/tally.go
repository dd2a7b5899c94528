package worker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// Two faults outside make one false alert after another until somebody stops them
// (domain.md section 4): a manufacturer who did not upload a batch, and a scanner that
// mangles what it reads. The tally counts answers as their records are folded, so that every
// process of an account comes to the same finding, and the loop writes it down as a
// withhold (withhold.go).
//
// A batch is found when three different packs of it were answered "serial unknown" or "batch
// unknown" within 24 h, nothing of it was ever done as far as the tally remembers, and each of
// the three was read by a device that reads other batches well. A device is found when of its
// last 50 answers a fifth are alerts or rejected scans, five times the share of the account's
// other devices.

const (
	missingPacks = 3              // unknown packs of one batch that make a finding
	missingSpan  = 24 * time.Hour // within which they are answered
	healthySpan  = 20             // a device that did a pack of another batch among its last answers reads well
	batchStands  = 7 * 24 * time.Hour

	ringSize     = 50 // answers of a device that are looked at
	ringLeast    = 20 // fewer say nothing, of the device or of its peers
	badLeast     = 5
	badShare     = 5 // one bad answer in so many
	departTimes  = 5 // so many times its peers' share
	suspectPacks = 3 // packs of a suspect batch on their way at once, until one is done
)

// What is kept of one account, at most. What was longest without an answer goes first.
const (
	tallyDevices  = 1000 // some 300 bytes each
	tallySuspects = 200
	tallyGood     = 2048 // batches with a done pack, in each of two generations
)

// The beginnings of what the loop writes as the reason; figures follow after a colon.
const (
	WhyMissingUpload = "missing upload: NMVS does not know the serials of this batch, read by devices that read others well"
	WhyDeparts       = "its alerts and rejected scans depart from those of the account's other devices"
)

// answerKind is what an answer says of the device that sent the scan.
type answerKind uint8

const (
	plain answerKind = iota // neither
	did                     // NMVS did it
	bad                     // an alert or a rejected scan
)

// ring is the last answers to one device's scans.
type ring struct {
	tags  [ringSize]uint32 // of the batch; 0: none
	kinds [ringSize]answerKind
	next  int // where the next one goes
	n     int // how many there are
	bad   int // of them
	last  uint64
}

// suspect is a batch of which a pack was unknown, and none done.
type suspect struct {
	packs []unknownPack // different ones from devices that read well, oldest first
	last  uint64
}

type unknownPack struct {
	k   scan.PackID
	at  time.Time
	src string
}

// finding is a withhold that is due.
type finding struct {
	scope ledger.Scope
	why   string
	stand time.Duration // 0: until a person ends it
}

// tally counts one account's answers. Owned by the loop.
type tally struct {
	seq      uint64 // up to which records were counted
	devices  map[string]*ring
	bad, all int // over all rings
	suspects map[ledger.Lot]*suspect
	good     [2]map[uint32]bool // batches with a done pack, by tag; the newer generation first
	stopped  map[string]bool    // devices that are withheld: their answers say nothing of their peers
	silent   map[ledger.Lot]bool
	found    []finding

	product *ledger.Product // whose tag is
	tag     uint32
}

func newTally() *tally {
	return &tally{devices: map[string]*ring{}, suspects: map[ledger.Lot]*suspect{}, good: [2]map[uint32]bool{{}, {}},
		stopped: map[string]bool{}, silent: map[ledger.Lot]bool{}}
}

// add counts the record at seq. book must not have taken it yet: what an answer is about
// stands in the attempt that it may close. Records that were counted change nothing.
func (t *tally) add(seq uint64, r *ledger.Record, book *ledger.Book) {
	if seq <= t.seq {
		return
	}
	t.seq = seq
	for i := range r.Note {
		n := &r.Note[i]
		var p scan.Pack
		if n.Pack != nil {
			p = *n.Pack
		}
		if n.Reason != scan.BatchWithheld && n.Reason != scan.DeviceWithheld {
			t.answer(r, n.Src, n.Manual, n.K, &n.Answer, p.Batch() != "", tagOf(p.Scheme(), p.Code(), p.Batch()), func() ledger.Lot { return ledger.LotOf(p) })
		}
	}
	for i := range r.Fact {
		f := &r.Fact[i]
		switch f.Kind {
		case ledger.Result:
			t.results(r, f, book.Attempt(f.C))
		case ledger.Withhold, ledger.LetGo:
			t.people(f)
		}
	}
}

// results counts the answers of one attempt.
func (t *tally) results(r *ledger.Record, f *ledger.Fact, att *ledger.Attempt) {
	if att == nil || att.Of != f.Of {
		return
	}
	for i := range f.Packs {
		p := &f.Packs[i]
		if p.Answer == nil || p.I < 0 || p.I >= len(att.Packs) || !att.IsLeft(p.I) {
			continue
		}
		o := &att.Packs[p.I]
		pr := att.Product
		if o.Product != nil {
			pr = o.Product
		}
		if pr == nil {
			continue
		}
		if pr != t.product {
			t.product, t.tag = pr, tagOf(pr.Scheme, pr.Code, pr.Batch)
		}
		t.answer(r, o.Src, o.Manual, p.K, p.Answer, true, t.tag, func() ledger.Lot { return ledger.Lot{Scheme: pr.Scheme, Code: pr.Code, Batch: pr.Batch} })
	}
}

// answer counts one. lot is asked for only where it matters: most answers are good ones.
func (t *tally) answer(r *ledger.Record, src string, manual bool, k scan.PackID, a *ledger.Answer, known bool, tag uint32, lot func() ledger.Lot) {
	if !known {
		tag = 0
	}
	kind := plain
	switch a.Result {
	case scan.Done:
		kind = did
		t.doneOf(tag, lot)
	case scan.Alert, scan.Rejected:
		kind = bad
	}
	missing := known && kind == bad && (a.Reason == scan.UnknownSerial || a.Reason == scan.UnknownBatch)
	if missing {
		l := lot()
		if t.silent[l] {
			kind = plain // the batch is known to be missing: that says nothing of the device
		}
		if !t.isGood(tag) {
			t.unknown(r, l, tag, k, src, manual)
		}
	}
	t.push(src, tag, kind)
}

// doneOf: a batch of which NMVS did one pack was uploaded.
func (t *tally) doneOf(tag uint32, lot func() ledger.Lot) {
	if len(t.suspects) > 0 {
		delete(t.suspects, lot())
	}
	if tag == 0 || t.good[0][tag] {
		return
	}
	if len(t.good[0]) >= tallyGood {
		t.good[0], t.good[1] = map[uint32]bool{}, t.good[0]
	}
	t.good[0][tag] = true
}

func (t *tally) isGood(tag uint32) bool { return t.good[0][tag] || t.good[1][tag] }

// unknown is one unknown pack of a batch of which none was done.
func (t *tally) unknown(r *ledger.Record, lot ledger.Lot, tag uint32, k scan.PackID, src string, manual bool) {
	s := t.suspects[lot]
	if s == nil {
		if len(t.suspects) >= tallySuspects {
			delete(t.suspects, oldest(t.suspects, func(s *suspect) uint64 { return s.last }))
		}
		s = &suspect{}
		t.suspects[lot] = s
	}
	s.last = t.seq
	if manual || !t.healthy(src, tag) { // a slip of the finger, or of the scanner, until another one shows it, too
		return
	}
	at, err := time.Parse(time.RFC3339Nano, r.At)
	if err != nil {
		return
	}
	s.packs = slices.DeleteFunc(s.packs, func(u unknownPack) bool { return u.k == k || at.Sub(u.at) > missingSpan })
	s.packs = append(s.packs, unknownPack{k, at, src})
	if len(s.packs) < missingPacks {
		return
	}
	var from []string
	for _, u := range s.packs {
		if !slices.Contains(from, u.src) {
			from = append(from, u.src)
		}
	}
	s.packs = s.packs[len(s.packs)-missingPacks:]
	t.find(finding{ledger.Scope{Lot: lot}, fmt.Sprintf("%s: %d packs, %s", WhyMissingUpload, missingPacks, strings.Join(from, ", ")), batchStands})
}

// healthy says whether a device did a pack of another batch among its last answers.
func (t *tally) healthy(src string, tag uint32) bool {
	d := t.devices[src]
	if d == nil {
		return false
	}
	for i := range min(d.n, healthySpan) {
		at := (d.next - 1 - i + ringSize) % ringSize
		if d.kinds[at] == did && d.tags[at] != tag {
			return true
		}
	}
	return false
}

// push puts an answer into its device's ring, and looks whether the device departs.
func (t *tally) push(src string, tag uint32, kind answerKind) {
	if len(t.stopped) > 0 && t.stopped[src] {
		return
	}
	d := t.devices[src]
	if d == nil {
		if len(t.devices) >= tallyDevices {
			t.drop(oldest(t.devices, func(d *ring) uint64 { return d.last }))
		}
		d = &ring{}
		t.devices[src] = d
	}
	if d.n == ringSize {
		t.all--
		if d.kinds[d.next] == bad {
			d.bad--
			t.bad--
		}
	} else {
		d.n++
	}
	d.tags[d.next], d.kinds[d.next], d.last = tag, kind, t.seq
	d.next = (d.next + 1) % ringSize
	t.all++
	if kind != bad {
		return
	}
	d.bad++
	t.bad++
	peersBad, peers := t.bad-d.bad, t.all-d.n
	if departs(d.bad, d.n, peersBad, peers) {
		t.find(finding{ledger.Scope{Device: src}, fmt.Sprintf("%s: %d of %d, the others %d of %d", WhyDeparts, d.bad, d.n, peersBad, peers), 0})
	}
}

// departs says whether a device with so many bad answers of n stands out from its peers'.
func departs(ill, n, peersBad, peers int) bool {
	return n >= ringLeast && peers >= ringLeast && ill >= badLeast && ill*badShare >= n && ill*peers >= departTimes*peersBad*n
}

// people takes what became of a finding. The answers that led to it do not lead to it again.
func (t *tally) people(f *ledger.Fact) {
	if f.Control == nil {
		return
	}
	s, err := ledger.ParseScope(f.Control.Scope)
	if err != nil {
		return
	}
	begun := f.Kind == ledger.Withhold
	t.found = slices.DeleteFunc(t.found, func(g finding) bool { return g.scope == s })
	if s.Device != "" {
		t.drop(s.Device)
		delete(t.stopped, s.Device)
		if begun {
			t.stopped[s.Device] = true
		}
		return
	}
	if u := t.suspects[s.Lot]; u != nil {
		u.packs = nil // it stays suspect until one is done
	}
	delete(t.silent, s.Lot)
	if begun {
		t.silent[s.Lot] = true
		t.forgive(tagOf(s.Lot.Scheme, s.Lot.Code, s.Lot.Batch))
	}
}

// forgive takes from the devices what a batch has done that was not uploaded.
func (t *tally) forgive(tag uint32) {
	for _, d := range t.devices {
		for i := range d.n {
			if d.tags[i] == tag && d.kinds[i] == bad {
				d.kinds[i] = plain
				d.bad--
				t.bad--
			}
		}
	}
}

// standing takes what is withheld now, also by records that were not counted.
func (t *tally) standing(list []ledger.Withheld) {
	clear(t.stopped)
	clear(t.silent)
	for _, w := range list {
		if w.Scope.Device != "" {
			t.drop(w.Scope.Device)
			t.stopped[w.Scope.Device] = true
		} else {
			t.silent[w.Scope.Lot] = true
		}
	}
}

// over takes what ended by itself: what led to it does not lead to it again.
func (t *tally) over(s ledger.Scope) {
	if u := t.suspects[s.Lot]; u != nil {
		u.packs = nil
	}
}

func (t *tally) drop(src string) {
	if d := t.devices[src]; d != nil {
		t.all -= d.n
		t.bad -= d.bad
		delete(t.devices, src)
	}
}

func (t *tally) find(f finding) {
	if !slices.ContainsFunc(t.found, func(g finding) bool { return g.scope == f.scope }) {
		t.found = append(t.found, f)
	}
}

func oldest[K comparable, V any](m map[K]V, last func(V) uint64) (key K) {
	first := true
	var at uint64
	for k, v := range m {
		if n := last(v); first || n < at {
			key, at, first = k, n, false
		}
	}
	return key
}

// tagOf is a batch's short name, never 0; two that meet only make a batch or a device look
// a little better than it is.
func tagOf(scheme scan.Scheme, code, batch string) uint32 {
	h := uint32(2166136261)
	for _, s := range [...]string{string(scheme), code, batch} {
		for i := range len(s) {
			h = (h ^ uint32(s[i])) * 16777619
		}
		h = (h ^ '|') * 16777619
	}
	return max(h, 1)
}
