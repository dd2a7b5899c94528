package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"decom/worker/scan"
)

// Key names a pack: scheme, product code, serial. It is comparable.
type Key struct {
	Scheme string `json:"scheme"`
	Code   string `json:"code"`
	Serial string `json:"serial"`
}

// String gives SCHEME|CODE|SERIAL, the form of the control API.
func (k Key) String() string { return k.Scheme + "|" + k.Code + "|" + k.Serial }

// ParseKey reads the form of [Key.String].
func ParseKey(s string) (Key, error) {
	f := strings.SplitN(s, "|", 3)
	if len(f) != 3 {
		return Key{}, fmt.Errorf("pack key %q is not SCHEME|CODE|SERIAL", s)
	}
	return Key{f[0], f[1], f[2]}, nil
}

// Stock is one pack to put into the store, or one to change: what is given for
// a product or batch that exists replaces what was there.
type Stock struct {
	Scheme string `json:"scheme"` // default GTIN
	Code   string `json:"code"`
	Serial string `json:"serial"` // empty: only the product or batch
	Batch  string `json:"batch"`
	Expiry string `json:"expiry"` // YYMMDD, day 00 = month only

	Name      string   `json:"name,omitempty"`
	NHRN      string   `json:"nhrn,omitempty"`
	Market    string   `json:"market,omitempty"`    // two letters; default FR. Another one is intermarket
	Withdrawn *bool    `json:"withdrawn,omitempty"` // of the product
	Recalled  *bool    `json:"recalled,omitempty"`  // of the batch
	Denied    *bool    `json:"denied,omitempty"`    // nobody has a right for this product (AU_08)
	Reasons   []string `json:"reasons,omitempty"`   // set on the pack by somebody who is none of our accounts
}

type product struct {
	key       string // scheme|code
	scheme    string
	code      string
	name      string
	nhrn      string
	market    string
	withdrawn bool
	denied    bool
	batches   map[string]*batch
	packs     map[string]*pack
}

func (p *product) foreign() bool { return p.market != Home }

type batch struct {
	id       string
	expiry   string    // as stored, YYMMDD
	lastDay  string    // ExpDateNMVS, YYYY-MM-DD
	ends     time.Time // the pack is expired from then on
	recalled bool
}

type pack struct {
	product *product
	batch   *batch
	serial  string
	marks   []mark // pack reasons that hold
	repeats int16  // PCK_23 given so far for the present mark

	undoneBy *account

	decommissions, undos, alerts, twice, undoTwice uint16
}

// mark is one reason set on a pack, and by whom.
type mark struct {
	reason  string
	account *account // nil: a stranger
	at      time.Time
	cid     string
}

// AddPack puts one active pack into the store, with its product and batch.
func (s *Sim) AddPack(p scan.Pack) error {
	return s.AddStock(Stock{Scheme: string(p.Scheme()), Code: p.Code(), Serial: p.Serial(), Batch: p.Batch(), Expiry: p.Expiry()})
}

// AddStock puts packs, batches and products into the store. On an error the
// entries before the wrong one are in.
func (s *Sim) AddStock(list ...Stock) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	for i, st := range list {
		if err := s.addStock(st); err != nil {
			return fmt.Errorf("stock[%d]: %w", i, err)
		}
	}
	return nil
}

func (s *Sim) addStock(st Stock) error {
	def(&st.Scheme, "GTIN")
	if st.Scheme != "GTIN" && st.Scheme != "PPN" || !inAlphabet(st.Code, digitChars, 12, 22) {
		return fmt.Errorf("product %s %q is not GTIN or PPN with 12 to 22 digits", st.Scheme, st.Code)
	}
	p := s.addProduct(st.Scheme, st.Code)
	if st.Name != "" {
		p.name = st.Name
	}
	if st.NHRN != "" {
		p.nhrn = st.NHRN
	}
	if st.Market != "" {
		p.market = st.Market
	}
	if st.Withdrawn != nil {
		p.withdrawn = *st.Withdrawn
	}
	if st.Denied != nil {
		p.denied = *st.Denied
	}
	var b *batch
	if st.Batch != "" {
		var err error
		if b, err = p.addBatch(st.Batch, st.Expiry); err != nil {
			return err
		}
		if st.Recalled != nil {
			b.recalled = *st.Recalled
		}
	}
	if st.Serial == "" {
		return nil
	}
	if !inAlphabet(st.Serial, serialChars, 1, 20) {
		return errors.New("serial: not 1 to 20 characters of the alphabet")
	}
	pk := p.packs[st.Serial]
	switch {
	case pk == nil && b == nil:
		return errors.New("batch: a new pack needs one")
	case pk == nil:
		pk = p.addPack(st.Serial, b)
	case b != nil:
		pk.batch = b
	}
	for _, reason := range st.Reasons {
		pk.marks = append(pk.marks, mark{reason: reason, at: s.now()})
	}
	return nil
}

func (s *Sim) addProduct(scheme, code string) *product {
	k := scheme + "|" + code
	p := s.products[k]
	if p == nil {
		p = &product{key: k, scheme: scheme, code: code, market: Home, batches: map[string]*batch{}, packs: map[string]*pack{}}
		s.products[k] = p
	}
	return p
}

func (p *product) addBatch(id, expiry string) (*batch, error) {
	b := p.batches[id]
	if b != nil && (expiry == "" || expiry == b.expiry) {
		return b, nil
	}
	last, ok := lastDay(expiry)
	if !ok {
		return nil, fmt.Errorf("expiry %q is not a date YYMMDD", expiry)
	}
	if b == nil {
		b = &batch{id: id}
		p.batches[id] = b
	}
	b.expiry, b.lastDay, b.ends = expiry, last.Format(time.DateOnly), last.AddDate(0, 0, 1)
	return b, nil
}

func (p *product) addPack(serial string, b *batch) *pack {
	pk := &pack{product: p, batch: b, serial: serial}
	p.packs[serial] = pk
	return pk
}

// lastDay is the last day on which a pack with that expiry is good (UTC).
func lastDay(expiry string) (time.Time, bool) {
	if !inAlphabet(expiry, digitChars, 6, 6) {
		return time.Time{}, false
	}
	if expiry[4:] == "00" {
		t, err := time.Parse("060102", expiry[:4]+"01")
		if err != nil {
			return t, false
		}
		return century(t).AddDate(0, 1, -1), true
	}
	t, err := time.Parse("060102", expiry)
	return century(t), err == nil
}

// century undoes Go's rule that 69 to 99 mean 1969 to 1999: no pack of this
// system expired before 2019.
func century(t time.Time) time.Time {
	if t.Year() < 2000 {
		return t.AddDate(100, 0, 0)
	}
	return t
}

// autoStock creates what a request names, if that setting is on.
func (s *Sim) autoStock(p *product, ref productRef, serial []byte) (*product, *pack) {
	a := &s.set.AutoStock
	if !a.On || a.UnknownPrefix != "" && strings.HasPrefix(string(serial), a.UnknownPrefix) {
		return p, nil
	}
	if a.UnknownP > 0 && s.share(serial) < a.UnknownP {
		return p, nil
	}
	id, expiry := "AUTO", "991231"
	if ref.batch != nil {
		id, expiry = string(ref.batch), string(ref.expiry)
	}
	if _, ok := lastDay(expiry); !ok {
		return p, nil
	}
	if p == nil {
		p = s.addProduct(string(ref.scheme), string(ref.code))
	}
	b := p.batches[id]
	if b == nil {
		b, _ = p.addBatch(id, expiry) // the date was checked above
	}
	return p, p.addPack(string(serial), b)
}

// share maps a serial to [0,1), the same for one seed in every run.
func (s *Sim) share(serial []byte) float64 {
	h := s.cfg.Seed ^ 14695981039346656037
	for _, c := range serial {
		h = (h ^ uint64(c)) * 1099511628211
	}
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 32
	return float64(h>>11) / (1 << 53)
}

// reasons lists what holds against the pack at t; nil means ACTIVE.
func (s *Sim) reasons(p *pack, t time.Time) []string {
	batchOK := !p.batch.recalled && !p.product.withdrawn && t.Before(p.batch.ends)
	if batchOK && len(p.marks) == 0 {
		return nil
	}
	if batchOK && len(p.marks) == 1 {
		if one := oneReason[p.marks[0].reason]; one != nil {
			return one
		}
	}
	var rs []string
	for _, m := range p.marks {
		rs = append(rs, m.reason)
	}
	if p.batch.recalled {
		rs = append(rs, "RECALLED")
	}
	if p.product.withdrawn {
		rs = append(rs, "WITHDRAWN")
	}
	if !t.Before(p.batch.ends) {
		rs = append(rs, "EXPIRED")
	}
	return rs
}

// oneReason spares an allocation on the commonest answer; never written.
var oneReason = map[string][]string{
	"SUPPLIED": {"SUPPLIED"}, "DESTROYED": {"DESTROYED"}, "EXPORTED": {"EXPORTED"}, "SAMPLE": {"SAMPLE"},
	"FREESAMPLE": {"FREESAMPLE"}, "LOCKED": {"LOCKED"}, "STOLEN": {"STOLEN"}, "CHECKED_OUT": {"CHECKED_OUT"},
}
