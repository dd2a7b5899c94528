package scan

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
)

// Scheme says who numbers the product.
type Scheme string

// The two schemes of the European system.
const (
	GTIN Scheme = "GTIN"
	PPN  Scheme = "PPN"
)

// Pack is a unique identifier: product code, serial, batch and expiry
// (Delegated Regulation 2016/161 article 4). It is comparable. A pack is
// *named* by scheme, code and serial alone (see [Pack.ID]); batch and expiry are
// facts that must agree.
//
// The zero Pack means "could not be read".
type Pack struct {
	scheme                      Scheme
	code, serial, batch, expiry string
	id                          PackID // a function of the others; asked for at every step
}

// NewPack returns the pack with these exact fields: nothing is trimmed, padded
// or changed in case. It checks lengths and alphabets (nmvs-interface.md 1.4),
// not check digits: a data carrier's own rules are gs1's work.
func NewPack(scheme Scheme, code, serial, batch, expiry string) (Pack, error) {
	if err := CheckPack(scheme, code, serial, batch, expiry); err != nil {
		return Pack{}, err
	}
	return Pack{scheme: scheme, code: code, serial: serial, batch: batch, expiry: expiry, id: idOf(scheme, code, serial)}, nil
}

// CheckPack says what NewPack has against these fields, for whoever needs no pack.
func CheckPack(scheme Scheme, code, serial, batch, expiry string) error {
	switch {
	case scheme != GTIN && scheme != PPN:
		return &Malformed{Field: "pack.scheme", Why: "must be GTIN or PPN"}
	case !digits(code) || scheme == GTIN && len(code) != 14 || len(code) < 12 || len(code) > 22:
		return &Malformed{Field: "pack.code", Why: "must be 14 digits (GTIN), or 12 to 22 digits (PPN)"}
	case !text82(serial):
		return &Malformed{Field: "pack.serial", Why: "must be 1 to 20 characters of the GS1 alphabet"}
	case !text82(batch):
		return &Malformed{Field: "pack.batch", Why: "must be 1 to 20 characters of the GS1 alphabet"}
	case len(expiry) != 6 || !digits(expiry):
		return &Malformed{Field: "pack.expiry", Why: "must be 6 digits, YYMMDD"}
	}
	return nil
}

// Scheme returns who numbers the product.
func (p Pack) Scheme() Scheme { return p.scheme }

// Code returns the product code, digits only.
func (p Pack) Code() string { return p.code }

// Serial returns the serial number exactly as scanned.
func (p Pack) Serial() string { return p.serial }

// Batch returns the batch exactly as scanned.
func (p Pack) Batch() string { return p.batch }

// Expiry returns YYMMDD exactly as scanned; a day of 00 means the end of the month.
func (p Pack) Expiry() string { return p.expiry }

// IsZero says that there is no pack.
func (p Pack) IsZero() bool { return p == Pack{} }

// PackID names a pack inside an account: the first 16 characters of
// base64url(SHA-256(scheme|code|serial)) (protocol.md section 2). It reveals no
// serial and may stand in logs and keys.
type PackID string

// ID returns the pack's name. Batch and expiry are not part of it.
func (p Pack) ID() PackID { return p.id }

func idOf(scheme Scheme, code, serial string) PackID {
	var buf [64]byte
	b := append(buf[:0], scheme...)
	b = append(b, '|')
	b = append(b, code...)
	b = append(b, '|')
	b = append(b, serial...)
	sum := sha256.Sum256(b)
	var name [16]byte
	base64.RawURLEncoding.Encode(name[:], sum[:12])
	return PackID(name[:])
}

// Print is a 32-bit fingerprint of batch and expiry, never 0. Two scans of one
// pack whose prints differ contradict each other.
func (p Pack) Print() uint32 {
	h := fnv(fnv(fnvStart, p.batch)*fnvPrime^'|', p.expiry)
	if h == 0 {
		return 1
	}
	return h
}

// LogValue hides the serial: logs name a pack by its ID and product.
func (p Pack) LogValue() slog.Value {
	if p.IsZero() {
		return slog.StringValue("")
	}
	return slog.GroupValue(slog.String("id", string(p.ID())), slog.String("code", p.code), slog.String("batch", p.batch))
}

// String hides the serial, so that a pack printed by accident reveals nothing.
func (p Pack) String() string {
	if p.IsZero() {
		return "no pack"
	}
	return fmt.Sprintf("%s %s (pack %s)", p.scheme, p.code, p.ID())
}

type packJSON struct {
	Scheme Scheme `json:"scheme"`
	Code   string `json:"code"`
	Serial string `json:"serial"`
	Batch  string `json:"batch"`
	Expiry string `json:"expiry"`
}

// MarshalJSON gives the object of contract.md section 4, the serial included;
// it is for messages and records, never for logs.
func (p Pack) MarshalJSON() ([]byte, error) {
	return p.AppendJSON(nil), nil
}

// UnmarshalJSON accepts the object of contract.md section 4, checked as by [NewPack].
func (p *Pack) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*p = Pack{}
		return nil
	}
	var j packJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	q, err := NewPack(j.Scheme, j.Code, j.Serial, j.Batch, j.Expiry)
	if err != nil {
		return err
	}
	*p = q
	return nil
}

func digits(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// cset82 marks the GS1 alphabet for serials and batches (GS1 General
// Specifications, figure 7.11-1).
var cset82 = func() (t [256]bool) {
	const all = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
	for i := range len(all) {
		t[all[i]] = true
	}
	return t
}()

func text82(s string) bool {
	if s == "" || len(s) > 20 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !cset82[s[i]] {
			return false
		}
	}
	return true
}

const (
	fnvStart uint32 = 2166136261
	fnvPrime uint32 = 16777619
)

func fnv(h uint32, s string) uint32 {
	for i := 0; i < len(s); i++ {
		h = (h ^ uint32(s[i])) * fnvPrime
	}
	return h
}

// clip keeps quoted input short in messages.
func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
