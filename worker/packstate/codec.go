package packstate

import (
	"encoding/binary"
	"errors"
	"fmt"

	"decom/worker/ledger"
	"decom/worker/scan"
)

// ErrValue marks a pack value in Redis that this program cannot read: written by a
// newer version, or not by decom. A rebuild from the ledger heals it.
var ErrValue = errors.New("unreadable pack value")

// MaxValue is the size limit of one pack value in bytes. Redis keeps a bucket
// compact (a listpack) only while every value is at most 64 bytes long
// (hash-max-listpack-value; protocol.md section 2.3).
const MaxValue = 64

// The value, version 1. Fixed places come first, then only what differs from
// the usual pack: inactive after one call, remembered events = its newest one.
//
//	byte 0   version(2 bits) phase(3) timed undo extended
//	byte 1   op(4 bits) onlyNewest baseIsOpening hasAt hasPrint
//	[byte 2  if extended: fenced(of a free pack: undone) probe single hasSends hasCalls wide hasSeen hasBase]
//	print 4 | opening uvarint | changed-opening uvarint
//	last: ms since 2020 5, device 4, id 3   (wide: ms 8, device 4, id 4)
//	at: seconds after last, zigzag varint | base uvarint | sends 1 | calls 1
//	seen: mask 1, then 3 each
const (
	codecVersion = 1

	b0Timed, b0Undo, b0Ext                           = 1 << 5, 1 << 6, 1 << 7
	b1OnlyNewest, b1BaseOpening, b1At, b1Print       = 1 << 4, 1 << 5, 1 << 6, 1 << 7
	b2Fenced, b2Probe, b2Single, b2Sends             = 1 << 0, 1 << 1, 1 << 2, 1 << 3
	b2Calls, b2Wide, b2Seen, b2Base                  = 1 << 4, 1 << 5, 1 << 6, 1 << 7
	epochMS                                    int64 = 1577836800000 // 2020-01-01, UTC
	max24                                            = 1<<24 - 1
)

// usualCalls is the number of change calls that needs no byte: a settled pack
// had one, every other pack starts with none.
func usualCalls(p ledger.Phase) uint8 {
	if p == ledger.Inactive {
		return 1
	}
	return 0
}

// encode appends the value of s to b. It refuses what the ledger never makes
// (a phase, operation or tag out of range), rather than store half of it.
func encode(b []byte, s *ledger.State) ([]byte, error) {
	start := len(b)
	if s.Phase > 7 || s.Op > 15 {
		return nil, fmt.Errorf("%w: phase %d, operation %d", ErrValue, s.Phase, s.Op)
	}
	if s.Fenced && s.Phase == ledger.Free || s.Undone && s.Phase != ledger.Free {
		return nil, fmt.Errorf("%w: a %s pack is fenced %t, undone %t", ErrValue, s.Phase, s.Fenced, s.Undone)
	}
	ext := extension(s)
	b0 := byte(codecVersion) | byte(s.Phase)<<2 | bit(s.Timed, b0Timed) | bit(s.Undo, b0Undo) | bit(ext != 0, b0Ext)
	b1 := byte(s.Op) | bit(onlyNewest(s), b1OnlyNewest) | bit(s.Base != 0 && s.Base == s.Opening, b1BaseOpening) |
		bit(s.At != 0, b1At) | bit(s.Print != 0, b1Print)
	b = append(b, b0, b1)
	if ext != 0 {
		b = append(b, ext)
	}
	if s.Print != 0 {
		b = binary.LittleEndian.AppendUint32(b, s.Print)
	}
	b = binary.AppendUvarint(b, s.Opening)
	b = binary.AppendUvarint(b, s.Changed-s.Opening)
	b = appendLast(b, s.Last, ext&b2Wide != 0)
	if s.At != 0 {
		b = binary.AppendVarint(b, s.At-s.Last.MS/1000)
	}
	if ext&b2Base != 0 {
		b = binary.AppendUvarint(b, s.Base)
	}
	if ext&b2Sends != 0 {
		b = append(b, s.Sends)
	}
	if ext&b2Calls != 0 {
		b = append(b, s.Calls)
	}
	var err error
	if ext&b2Seen != 0 {
		if b, err = appendSeen(b, &s.Seen); err != nil {
			return nil, err
		}
	}
	if n := len(b) - start; n > MaxValue {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrValue, n, MaxValue)
	}
	return b, nil
}

// extension returns byte 2: what is unusual about s.
func extension(s *ledger.State) byte {
	ms := s.Last.MS - epochMS
	wide := ms < 0 || ms >= 1<<40 || s.Last.ID > max24
	return bit(s.Fenced || s.Undone, b2Fenced) | bit(s.Probe, b2Probe) | bit(s.Single, b2Single) | bit(s.Sends != 0, b2Sends) |
		bit(s.Calls != usualCalls(s.Phase), b2Calls) | bit(wide, b2Wide) |
		bit(!onlyNewest(s) && s.Seen != [ledger.SeenMax]uint32{}, b2Seen) |
		bit(s.Base != 0 && s.Base != s.Opening, b2Base)
}

// onlyNewest says that the one event remembered is the one that gave `last`.
func onlyNewest(s *ledger.State) bool {
	return s.Last.ID != 0 && s.Seen == [ledger.SeenMax]uint32{s.Last.ID}
}

func bit(on bool, mask byte) byte {
	if on {
		return mask
	}
	return 0
}

func appendLast(b []byte, k scan.Key, wide bool) []byte {
	if wide {
		b = binary.LittleEndian.AppendUint64(b, uint64(k.MS))
		b = binary.LittleEndian.AppendUint32(b, k.Device)
		return binary.LittleEndian.AppendUint32(b, k.ID)
	}
	ms := uint64(k.MS - epochMS)
	b = append(b, byte(ms), byte(ms>>8), byte(ms>>16), byte(ms>>24), byte(ms>>32))
	b = binary.LittleEndian.AppendUint32(b, k.Device)
	return append24(b, k.ID)
}

func append24(b []byte, v uint32) []byte { return append(b, byte(v), byte(v>>8), byte(v>>16)) }

func appendSeen(b []byte, seen *[ledger.SeenMax]uint32) ([]byte, error) {
	var mask byte
	for i, t := range seen {
		if t > max24 {
			return nil, fmt.Errorf("%w: event tag %#x is longer than 24 bits", ErrValue, t)
		}
		mask |= bit(t != 0, 1<<i)
	}
	b = append(b, mask)
	for _, t := range seen {
		if t != 0 {
			b = append24(b, t)
		}
	}
	return b, nil
}

// decode reads what [encode] wrote; any other value is an [ErrValue].
func decode(v string) (ledger.State, error) {
	r := reader{b: v}
	b0, b1, ext := r.byte(), r.byte(), byte(0)
	if r.bad || b0&3 != codecVersion {
		return ledger.State{}, fmt.Errorf("%w: version %d, this program reads %d", ErrValue, b0&3, codecVersion)
	}
	if b0&b0Ext != 0 {
		ext = r.byte()
	}
	s := ledger.State{
		Phase: ledger.Phase(b0 >> 2 & 7), Timed: b0&b0Timed != 0, Undo: b0&b0Undo != 0,
		Op: scan.Op(b1 & 15), Probe: ext&b2Probe != 0, Single: ext&b2Single != 0,
	}
	s.Undone = ext&b2Fenced != 0 && s.Phase == ledger.Free
	s.Fenced = ext&b2Fenced != 0 && s.Phase != ledger.Free
	if b1&b1Print != 0 {
		s.Print = uint32(r.uint(4))
	}
	s.Opening = r.uvarint()
	s.Changed = s.Opening + r.uvarint()
	if ext&b2Wide != 0 {
		s.Last = scan.Key{MS: int64(r.uint(8)), Device: uint32(r.uint(4)), ID: uint32(r.uint(4))}
	} else {
		s.Last = scan.Key{MS: int64(r.uint(5)) + epochMS, Device: uint32(r.uint(4)), ID: uint32(r.uint(3))}
	}
	if b1&b1At != 0 {
		s.At = r.varint() + s.Last.MS/1000
	}
	if b1&b1BaseOpening != 0 {
		s.Base = s.Opening
	}
	if ext&b2Base != 0 {
		s.Base = r.uvarint()
	}
	if ext&b2Sends != 0 {
		s.Sends = r.byte()
	}
	s.Calls = usualCalls(s.Phase)
	if ext&b2Calls != 0 {
		s.Calls = r.byte()
	}
	r.seen(&s, b1&b1OnlyNewest != 0, ext&b2Seen != 0)
	if r.bad || r.b != "" {
		return ledger.State{}, fmt.Errorf("%w: %d bytes of version %d are cut off or too long", ErrValue, len(v), codecVersion)
	}
	return s, nil
}

// reader takes a value apart; bad is set once and stays.
type reader struct {
	b   string
	bad bool
}

func (r *reader) seen(s *ledger.State, onlyNewest, list bool) {
	if onlyNewest {
		s.Seen[0] = s.Last.ID
	}
	if !list {
		return
	}
	r.bad = r.bad || onlyNewest // never written together
	mask := r.byte()
	for i := range s.Seen {
		if mask&(1<<i) != 0 {
			s.Seen[i] = uint32(r.uint(3))
		}
	}
}

func (r *reader) byte() byte { return byte(r.uint(1)) }

func (r *reader) uint(n int) (v uint64) {
	if len(r.b) < n {
		r.bad = true
		return 0
	}
	for i := n - 1; i >= 0; i-- {
		v = v<<8 | uint64(r.b[i])
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uvarint() (v uint64) {
	for shift := 0; shift < 70; shift += 7 {
		c := r.byte()
		if r.bad || shift == 63 && c > 1 {
			break
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	r.bad = true
	return 0
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}
