package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"decom/worker/scan"
)

// Limits of one record (protocol.md section 2.1).
const (
	MaxPacks = 1000      // packs named by one record
	MaxBytes = 512 << 10 // payload bytes
	version  = 2
)

// Head names a record of one account: its stream sequence and the SHA-256 of
// its payload in hex. The zero Head stands before the first record. Sequences
// alone name nothing: a ledger that lost its tail grows the same numbers again.
type Head struct {
	Seq  uint64
	Hash string
}

// Service says how packs travel to NMVS. The words stand in records.
type Service string

// The services that change packs.
const (
	Single Service = "single" // one pack an attempt
	Bulk   Service = "bulk"   // one product and batch, many serials
	Mixed  Service = "mixed"  // every pack brings its own product and id
)

// Record is one group commit on an account's ledger. It is folded in the order
// note, open, fact; a pack stands in it at most once (facts about attempts
// apart, which name packs of older records).
type Record struct {
	V       int    `json:"v"`
	Account string `json:"account"`
	PrevSeq uint64 `json:"prev_seq"`
	Prev    string `json:"prev"`
	By      string `json:"by"` // worker#incarnation, or the person's tool
	At      string `json:"at"` // writer's clock, for people
	Note    []Note `json:"note,omitempty"`
	Open    []Open `json:"open,omitempty"`
	Fact    []Fact `json:"fact,omitempty"`
}

// Origin is what an entry keeps of the scan event it answers.
type Origin struct {
	Ev       string  `json:"ev"`
	Src      string  `json:"src"` // SITE/DEVICE
	Key      int64   `json:"key"` // milliseconds of the order key
	Timed    bool    `json:"timed,omitempty"`
	Manual   bool    `json:"manual,omitempty"`
	Repaired bool    `json:"repaired,omitempty"`
	Ref      string  `json:"ref,omitempty"`
	Operator string  `json:"operator,omitempty"`
	ATD      *bool   `json:"atd,omitempty"`
	Op       scan.Op `json:"op"`
}

// OrderKey returns the event's order key.
func (o Origin) OrderKey() scan.Key { return scan.NewKey(o.Key, o.Src, o.Ev) }

// Tag is the 24-bit tag under which a pack remembers the event.
func (o Origin) Tag() uint32 { return scan.SeenTag(o.Src, o.Ev) }

// Answer is what was learned about one pack: from NMVS, or by our own rules
// when Code is empty. It becomes the outcome.
type Answer struct {
	Result   scan.Result `json:"result"`
	Reason   scan.Reason `json:"reason,omitempty"`
	Code     string      `json:"code,omitempty"`
	State    string      `json:"state,omitempty"`   // as NMVS gave it
	Reasons  []string    `json:"reasons,omitempty"` // as NMVS gave them
	AlertID  string      `json:"alert_id,omitempty"`
	NMVSTrx  string      `json:"nmvs_trx,omitempty"`
	NMVSAt   string      `json:"nmvs_at,omitempty"`  // NMVS's clock, RFC 3339
	Evidence string      `json:"evidence,omitempty"` // e1..e4, when an earlier doubt was settled
	Called   bool        `json:"called,omitempty"`   // a change call was made in this attempt
}

// Note disposes of a scan without a change call.
type Note struct {
	Origin
	K      scan.PackID `json:"k,omitempty"` // empty: the scan could not be read
	Pack   *scan.Pack  `json:"pack,omitempty"`
	Offset int         `json:"offset,omitempty"` // of a rejected scan, bytes
	Detail string      `json:"detail,omitempty"` // of a rejected scan: field and fault
	Trx    string      `json:"trx,omitempty"`    // ClientTrxId of a verify
	Answer
}

// Product is what the packs of one attempt share.
type Product struct {
	Scheme scan.Scheme `json:"scheme"`
	Code   string      `json:"code"`
	Batch  string      `json:"batch"`
	Expiry string      `json:"expiry"`
}

// Open is one attempt: claim, intent and the permission to send in one entry.
type Open struct {
	C       string     `json:"c"` // ClientTrxId, never reused
	Svc     Service    `json:"svc"`
	Op      scan.Op    `json:"op,omitempty"`  // single and bulk: of every pack
	SHA     string     `json:"sha,omitempty"` // SHA-256 hex of the request without credentials
	Product *Product   `json:"product,omitempty"`
	Pre     bool       `json:"pre,omitempty"`   // verified ACTIVE just before (evidence e3)
	Probe   bool       `json:"probe,omitempty"` // the one qualified repeat
	Packs   []OpenPack `json:"packs"`
}

// OpenPack is one pack of an attempt.
type OpenPack struct {
	Serial  string   `json:"serial"`
	C       string   `json:"c,omitempty"`       // mixed: the item's own ClientTrxId
	Product *Product `json:"product,omitempty"` // mixed: the item's own product
	RefC    string   `json:"ref_c,omitempty"`   // undo: ClientTrxId of the change it reverses
	Calls   int      `json:"calls,omitempty"`   // change calls made before this attempt
	Origin

	pack scan.Pack // what Open.Pack makes of it; zero until Encode or Decode has looked
}

// Pack returns pack i of the attempt.
func (o *Open) Pack(i int) (scan.Pack, error) {
	if i < 0 || i >= len(o.Packs) {
		return scan.Pack{}, fmt.Errorf("attempt %s has no pack %d", o.C, i)
	}
	if p := &o.Packs[i].pack; !p.IsZero() {
		return *p, nil
	}
	p, pr := &o.Packs[i], o.Product
	if p.Product != nil {
		pr = p.Product
	}
	if pr == nil {
		return scan.Pack{}, fmt.Errorf("attempt %s: pack %d has no product", o.C, i)
	}
	return scan.NewPack(pr.Scheme, pr.Code, p.Serial, pr.Batch, pr.Expiry)
}

// Trx returns the ClientTrxId that names pack i at NMVS.
func (o *Open) Trx(i int) string {
	if c := o.Packs[i].C; c != "" {
		return c
	}
	return o.C
}

// Kind says what a fact states.
type Kind string

// The kinds of fact (protocol.md section 2.1).
const (
	Submitted Kind = "submitted" // bulk accepted, Tx is its id
	Result    Kind = "result"    // final answer or evidence, per pack
	Off       Kind = "off"       // not sent, or refused as a whole
	Fence     Kind = "fence"     // the hold begins; the sender must not send any more
	Release   Kind = "release"   // not executed, the hold is over
	Resend    Kind = "resend"    // sameid: the same bytes go out again
	Used      Kind = "used"      // sameid: NMVS knows this id
	Park      Kind = "park"      // a person must look
	Review    Kind = "review"    // a person looked and states the pack's state
	Halt      Kind = "halt"      // no byte leaves until Resume
	Resume    Kind = "resume"    // a person lets the account go on
	Pause     Kind = "pause"     // a person has nothing new taken in or opened, see Controls
	Tune      Kind = "tune"      // a person sets other limits, see Controls
	Continue  Kind = "continue"  // a person ends the pause and the tune that stand

	VerifyFirst Kind = "verify_first" // both stores lost: each pack is verified before its open, see Controls
	VerifyEnd   Kind = "verify_end"   // a person ends that

	Withhold Kind = "withhold" // nothing new of one batch or device is opened, see Controls
	LetGo    Kind = "free"     // a person ends that
)

// Fact states something about an attempt (C, Of), about packs, or about the
// account. It changes only packs that are still open for that attempt
// [B2c]; park and review name packs in any state.
type Fact struct {
	C         string     `json:"c,omitempty"`
	Of        uint64     `json:"of,omitempty"` // sequence of the record that opened C
	Kind      Kind       `json:"kind"`
	Tx        string     `json:"tx,omitempty"`         // submitted: NMVSTrxId to poll with
	NotBefore int64      `json:"not_before,omitempty"` // off: milliseconds; the packs rest until then
	Svc       Service    `json:"svc,omitempty"`        // off: the service to use next
	Who       string     `json:"who,omitempty"`        // park, review, halt, resume, and what sets controls
	Why       string     `json:"why,omitempty"`
	Control   *Control   `json:"control,omitempty"` // pause, tune, withhold, free
	Packs     []FactPack `json:"packs,omitempty"`
}

// FactPack is a fact's word about one pack. K makes a record readable without the
// one that opened the attempt; I is the pack's place in it.
type FactPack struct {
	I  int         `json:"i"`
	K  scan.PackID `json:"k"`
	To Phase       `json:"to,omitempty"` // review: the stated phase
	Op scan.Op     `json:"op,omitempty"` // review: how it is inactive

	Probe bool `json:"probe,omitempty"` // release: the next attempt is the one qualified repeat
	*Answer
}

// Hash returns the name of a payload: SHA-256 in hex.
func Hash(payload []byte) string {
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:])
}

// ErrRecord marks a payload that is no record, or breaks a record's rules.
var ErrRecord = errors.New("not a ledger record")

// Encode sets the version and the link to prev, and returns the payload. It
// refuses a record over the limits, and one that Decode would refuse: on the ledger it
// could never be taken back, and would halt the account for good. Only its writer may still
// hold r: what Pack gives is remembered in it.
func Encode(r *Record, prev Head) ([]byte, error) { return AppendTo(nil, r, prev) }

// AppendTo is [Encode] into b, which must be empty and may have room: what it returns is the
// payload, in b's memory where that is enough.
func AppendTo(b []byte, r *Record, prev Head) ([]byte, error) {
	r.V, r.PrevSeq, r.Prev = version, prev.Seq, prev.Hash
	if err := r.check(); err != nil {
		return nil, err
	}
	b, err := appendRecord(slices.Grow(b[:0], r.size()), r)
	if err != nil {
		return nil, err
	}
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrRecord, len(b), MaxBytes)
	}
	return b, nil
}

// check refuses what could be written but not read back: a reader that cannot read a
// record halts the account. Operations refuse themselves (scan.Op.MarshalText).
func (r *Record) check() error {
	if n := r.Packs(); n > MaxPacks {
		return fmt.Errorf("%w: %d packs, more than %d", ErrRecord, n, MaxPacks)
	}
	for i := range r.Note {
		if p := r.Note[i].Pack; p != nil && p.IsZero() {
			return fmt.Errorf("%w: note %d names no pack", ErrRecord, i)
		}
	}
	for i := range r.Open {
		o := &r.Open[i]
		if len(o.Packs) == 0 {
			return fmt.Errorf("%w: attempt %s has no packs", ErrRecord, o.C)
		}
		for j := range o.Packs {
			o.Packs[j].pack = scan.Pack{} // it must come from what is written
			p, err := o.Pack(j)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrRecord, err)
			}
			o.Packs[j].pack = p
		}
	}
	return nil
}

// size is about how many bytes r takes: growing step by step would leave as many to the
// collector.
func (r *Record) size() int { return 512 + 400*r.Packs() }

// Packs counts the packs that the entries name, a pack of two entries twice.
func (r *Record) Packs() int {
	n := len(r.Note)
	for i := range r.Open {
		n += len(r.Open[i].Packs)
	}
	for i := range r.Fact {
		n += len(r.Fact[i].Packs)
	}
	return n
}

// Decode reads a payload and checks that it belongs to account.
func Decode(payload []byte, account string) (*Record, error) {
	r, ok := readRecord(payload)
	if !ok {
		r = &Record{}
		if err := json.Unmarshal(payload, r); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRecord, err)
		}
	}
	switch {
	case r.V != version:
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrRecord, r.V, version)
	case r.Account != account:
		return nil, fmt.Errorf("%w: of account %q, not %q", ErrRecord, r.Account, account)
	}
	for i := range r.Open {
		o := &r.Open[i]
		for j := range o.Packs { // whoever needs one that is none gets the error
			o.Packs[j].pack, _ = o.Pack(j)
		}
	}
	return r, nil
}
