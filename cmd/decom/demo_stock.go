package main

import (
	_ "embed" // the presentations
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"decom/nmvs/sim"
	"decom/worker/scan"
)

// medicinesTSV is a choice of real French presentations; its first lines say from where.
//
//go:embed demodata/medicines.tsv
var medicinesTSV string

// presentation is a medicine in one pack size.
type presentation struct {
	gtin string // 0 + CIP13
	name string
}

// presentations reads the embedded list. It is checked by a test.
func presentations() []presentation {
	var list []presentation
	for line := range strings.Lines(medicinesTSV) {
		cip, name, ok := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		list = append(list, presentation{"0" + cip, name})
	}
	return list
}

// batchOf is a batch of a presentation as its maker printed it.
type batchOf struct{ batch, expiry string }

// stockroom makes packs: each real presentation has two batches, each pack a serial of
// its own. Everything follows from the random source and the day.
type stockroom struct {
	rng     *rand.Rand
	year    int
	list    []presentation
	next    int
	batches map[string][]batchOf // by product code
	serials map[string]bool
	stock   []sim.Stock
}

func newStockroom(rng *rand.Rand, now time.Time) *stockroom {
	s := &stockroom{rng: rng, year: now.Year(), list: presentations(), batches: map[string][]batchOf{}, serials: map[string]bool{}}
	rng.Shuffle(len(s.list), func(i, j int) { s.list[i], s.list[j] = s.list[j], s.list[i] })
	return s
}

// product returns the next presentation, all of them in turn.
func (s *stockroom) product() presentation {
	p := s.list[s.next%len(s.list)]
	s.next++
	return p
}

// reserve takes a presentation out of the list, for what shall hit no other pack.
func (s *stockroom) reserve() presentation {
	p := s.list[len(s.list)-1]
	s.list = s.list[:len(s.list)-1]
	return p
}

const (
	capitals = "ABCDEFGHJKLMNPQRSTUVWXYZ"
	figures  = "0123456789"
	// plainKeys are the characters that arrive alike through a French and a Belgian
	// keyboard, once undone: no 6 and 8, no symbols.
	plainKeys = "ABCDEFGHJKLNPRSTUVXY1234579"
	symbols   = "-_./+:"
)

func (s *stockroom) text(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[s.rng.IntN(len(alphabet))]
	}
	return string(b)
}

// serial makes one that no other pack has, in the styles that makers use.
func (s *stockroom) serial() string {
	for {
		var t string
		switch s.rng.IntN(8) {
		case 0:
			t = s.text(figures, 12)
		case 1:
			t = s.text(capitals+figures+strings.ToLower(capitals), 20)
		case 2:
			t = s.text(capitals+figures, 5) + s.text(symbols, 1) + s.text(figures, 6)
		default:
			t = s.text(capitals+figures, 10+s.rng.IntN(5))
		}
		if s.fresh(t) {
			return t
		}
	}
}

// plainSerial makes one of plainKeys.
func (s *stockroom) plainSerial() string {
	for {
		if t := s.text(plainKeys, 12); s.fresh(t) {
			return t
		}
	}
}

func (s *stockroom) fresh(serial string) bool {
	if s.serials[serial] {
		return false
	}
	s.serials[serial] = true
	return true
}

// expiry is a date one to three years from now; a third of the batches name the
// month only (day 00).
func (s *stockroom) expiry() string {
	day := 1 + s.rng.IntN(28)
	if s.rng.IntN(3) == 0 {
		day = 0
	}
	return fmt.Sprintf("%02d%02d%02d", (s.year+1+s.rng.IntN(3))%100, 1+s.rng.IntN(12), day)
}

func (s *stockroom) batch(code string) batchOf {
	have := s.batches[code]
	if len(have) < 2 {
		b := s.freshBatch()
		s.batches[code] = append(have, b)
		return b
	}
	return have[s.rng.IntN(2)]
}

func (s *stockroom) freshBatch() batchOf {
	return batchOf{s.text(capitals, 1+s.rng.IntN(2)) + s.text(figures, 4+s.rng.IntN(3)), s.expiry()}
}

// pack puts a new pack of any presentation into NMVS's stock, active.
func (s *stockroom) pack() scan.Pack { return s.packOf(s.product(), s.serial()) }

func (s *stockroom) packOf(m presentation, serial string) scan.Pack {
	b := s.batch(m.gtin)
	return s.put(must(m.gtin, serial, b), sim.Stock{Name: m.name})
}

// put adds a pack to the stock; extra says what is special about it.
func (s *stockroom) put(p scan.Pack, extra sim.Stock) scan.Pack {
	extra.Scheme, extra.Code, extra.Serial = string(p.Scheme()), p.Code(), p.Serial()
	extra.Batch, extra.Expiry = p.Batch(), p.Expiry()
	s.stock = append(s.stock, extra)
	return p
}

// must makes a GTIN pack of parts that this file made; they always fit.
func must(code, serial string, b batchOf) scan.Pack {
	return mustScheme(scan.GTIN, code, serial, b)
}

func mustScheme(scheme scan.Scheme, code, serial string, b batchOf) scan.Pack {
	p, err := scan.NewPack(scheme, code, serial, b.batch, b.expiry)
	if err != nil {
		panic(fmt.Sprintf("demo: made-up pack: %v", err)) // the test of every seed would have found it
	}
	return p
}

// packKey names a pack in the simulator.
func packKey(p scan.Pack) sim.Key {
	return sim.Key{Scheme: string(p.Scheme()), Code: p.Code(), Serial: p.Serial()}
}
