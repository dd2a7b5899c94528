package main

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"decom/nmvs/sim"
	"decom/worker/scan"
)

// A demo's scenario is made up front, by pure code: the same seed on the same day
// gives the same packs, scans and faults. What each scan must lead to is written down
// with it, by hand, not computed by the worker's rules.

// demoSite is a site and its devices.
type demoSite struct {
	name    string
	devices []string
}

// demoAccount is one pivot PUI of the demo.
type demoAccount struct {
	name, client, user string
	sites              []demoSite
}

// demoAccounts are two pivots: a university hospital with two robots and a
// clinic that buys for itself and runs a warehouse gateway.
func demoAccounts() []demoAccount {
	return []demoAccount{
		{"chu-demo", "FR-DEMO-0001", "robot01", []demoSite{{"chu-nord", []string{"rowa-1", "douchette-1"}}, {"chu-sud", []string{"rowa-2"}}}},
		{"clinique-demo", "FR-DEMO-0002", "robot02", []demoSite{{"clinique", []string{"douchette-2"}}, {"plateforme", []string{"passerelle-1"}}}},
	}
}

// station is where a scan comes from.
type station struct {
	account      int // index
	site, device string
}

// demoScan is one message that a device is going to publish.
type demoScan struct {
	kind string
	station
	id    string
	op    scan.Op
	entry scan.Entry
	text  string        // of the data carrier, or
	pack  *scan.Fields  // spelled out, or
	raw   []byte        // the whole body, as it is
	key   sim.Key       // the pack, zero if there is none
	after string        // published once that event has its outcome
	again string        // the very message of that event once more: no outcome of its own
	shift time.Duration // of the device's time: against the event `after`, else against now
	wrap  bool          // as a structured CloudEvent
	noAt  bool          // the device sends no time
	want  []string      // RESULT or RESULT/REASON that it may lead to, the usual one first
	fixed bool          // must be read as repaired
}

// scenario is all that the demo does, and what must come of it.
type scenario struct {
	accounts []demoAccount
	stock    []sim.Stock
	scans    []demoScan
	clean    map[sim.Key]bool // packs that must never raise an alert
	opening  int              // scans[:opening] have their outcomes before any other is published
	packs    int
	plain    []sim.Key // packs that are supplied once, undisturbed: faults go there
}

// builder makes a scenario.
type builder struct {
	*stockroom
	sc     *scenario
	chains [][]demoScan // the scans of one pack, in order
	early  int          // chains[:early] come first
	n      int          // number of the last event
}

// newScenario makes n packs of every kind there is, most of them plain.
func newScenario(seed uint64, n int, now time.Time) *scenario {
	rng := rand.New(rand.NewPCG(seed, 0x64656d6f))
	b := &builder{stockroom: newStockroom(rng, now), sc: &scenario{accounts: demoAccounts(), clean: map[sim.Key]bool{}}}
	for _, k := range demoKinds() {
		times := k.times
		if times == 0 {
			times = max(1, n*k.permille/1000)
		}
		for range times {
			if k.packs+b.sc.packs > n-n/4 {
				break // a very small demo shows fewer kinds, and still has plain packs
			}
			b.chain(k.name, k.make)
		}
		if k.early {
			b.early = len(b.chains)
		}
	}
	for b.sc.packs < n {
		b.chain("plain", (*builder).plain)
	}
	b.lay()
	b.sc.stock = b.stock
	return b.sc
}

// kind is a sort of scan.
type kind struct {
	name     string
	permille int // of the packs
	times    int // instead: so often, however many packs
	packs    int // how many packs one makes; 0 for scans of something else
	early    bool
	make     func(*builder) []demoScan
}

// chain adds the scans of one pack.
func (b *builder) chain(kind string, build func(*builder) []demoScan) {
	scans := build(b)
	for i := range scans {
		scans[i].kind = kind
	}
	b.chains = append(b.chains, scans)
}

// lay puts the chains into the order of publishing: the early ones first, the others
// anywhere. A scan that waits for nothing follows its forerunner.
func (b *builder) lay() {
	rest := b.chains[b.early:]
	b.rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	for i, c := range b.chains {
		b.sc.scans = append(b.sc.scans, c...)
		if i < b.early {
			b.sc.opening = len(b.sc.scans)
		}
	}
}

// from picks a device: robots scan most.
func (b *builder) from() station {
	account := 0
	if b.rng.IntN(5) < 2 {
		account = 1
	}
	return b.fromAccount(account)
}

func (b *builder) fromAccount(account int) station {
	a := b.sc.accounts[account]
	site := a.sites[b.rng.IntN(len(a.sites))]
	return station{account, site.name, site.devices[b.rng.IntN(len(site.devices))]}
}

// other picks another device of the same account.
func (b *builder) other(s station) station {
	for {
		if o := b.fromAccount(s.account); o != s {
			return o
		}
	}
}

// scan starts a message of a device; want lists what it may lead to.
func (b *builder) scan(from station, op scan.Op, want ...string) demoScan {
	b.n++
	return demoScan{station: from, op: op, entry: scan.Scanned, want: want, id: "demo-" + strconv.Itoa(b.n)}
}

// of makes it a scan of the pack's Data Matrix.
func (b *builder) of(s demoScan, p scan.Pack) demoScan {
	s.text, s.key = carrier(b.rng, p), packKey(p)
	return s
}

// sound counts a pack that is what it says: it must never raise an alert.
func (b *builder) sound(p scan.Pack) scan.Pack {
	b.sc.packs++
	b.sc.clean[packKey(p)] = true
	return p
}

// suspect counts a pack whose scan may, or must, raise one.
func (b *builder) suspect(p scan.Pack) scan.Pack {
	b.sc.packs++
	return p
}

// plain is what most packs are: scanned once, decommissioned.
func (b *builder) plain() []demoScan {
	p := b.sound(b.pack())
	b.sc.plain = append(b.sc.plain, packKey(p))
	return []demoScan{b.of(b.scan(b.from(), scan.Supply, "done"), p)}
}

// behind makes s wait for the outcome of first; its time is that much later.
func behind(first, s demoScan, later time.Duration) demoScan {
	s.after, s.shift = first.id, later
	return s
}

// expected are the events that must have exactly one outcome each.
func (sc *scenario) expected() map[string]*demoScan {
	m := make(map[string]*demoScan, len(sc.scans))
	for i := range sc.scans {
		if sc.scans[i].again == "" {
			m[sc.scans[i].id] = &sc.scans[i]
		}
	}
	return m
}

// body writes the message (contract.md section 4).
func (s *demoScan) body(at time.Time) []byte {
	if s.raw != nil {
		return s.raw
	}
	e := map[string]any{"v": 1, "id": s.id, "op": s.op}
	if s.text != "" {
		e["scan"] = s.text
	}
	if s.pack != nil {
		e["pack"] = s.pack
	}
	if s.entry == scan.Manual {
		e["entry"], e["operator"] = s.entry, "preparatrice-2"
	}
	if !s.noAt {
		e["at"] = at.UTC().Format(time.RFC3339Nano)
	}
	if s.wrap {
		e = map[string]any{"specversion": "1.0", "type": "decom.scan", "source": "/" + s.site + "/" + s.device, "id": s.id, "data": e}
	}
	out, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return out
}

// allows says whether an outcome is among those that the scan may lead to. Where
// a change may be done, it may also be proved done after a doubt.
func (s *demoScan) allows(word string) bool {
	return slices.Contains(s.want, word) || word == "done/confirmed" && !s.op.IsRead() && slices.Contains(s.want, "done")
}

// wordOf is RESULT or RESULT/REASON.
func outcomeWord(o *scan.Outcome) string {
	if o.Reason == scan.NoReason {
		return string(o.Result)
	}
	return string(o.Result) + "/" + string(o.Reason)
}
