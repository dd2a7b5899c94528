package packstate_test

import (
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"decom/worker/ledger"
	"decom/worker/packstate"
	"decom/worker/scan"
)

// settled is the usual pack: supplied once, scanned once.
func settled() ledger.State {
	key := scan.Key{MS: 1790000000123, Device: 0xdeadbeef, ID: 0xabcdef}
	return ledger.State{
		Phase: ledger.Inactive, Op: scan.Supply, Timed: true, Calls: 1, Print: 0x12345678, At: 1790000003,
		Opening: 1_500_000, Changed: 1_500_001, Base: 1_500_000, Last: key, Seen: [4]uint32{key.ID},
	}
}

func TestASettledPackIsShort(t *testing.T) {
	s := settled()
	b, err := packstate.Encode(&s)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 24 {
		t.Errorf("%d bytes, want at most 24", len(b))
	}
}

// drawState makes states as the ledger can make them, and beyond.
func drawState(t *rapid.T) ledger.State {
	flag := func(l string) bool { return rapid.Bool().Draw(t, l) }
	seq := rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(1, 1<<40))
	tag := rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32Range(0, 1<<24-1))
	s := ledger.State{
		Phase: ledger.Phase(rapid.IntRange(0, 4).Draw(t, "phase")), Op: scan.Op(rapid.IntRange(0, 13).Draw(t, "op")),
		Fenced: flag("fenced"), Probe: flag("probe"), Timed: flag("timed"), Undo: flag("undo"), Single: flag("single"),
		Sends: uint8(rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 255)).Draw(t, "sends")),
		Calls: uint8(rapid.OneOf(rapid.IntRange(0, 1), rapid.IntRange(0, 255)).Draw(t, "calls")),
		Print: rapid.Uint32().Draw(t, "print"), Opening: seq.Draw(t, "opening"), Changed: seq.Draw(t, "changed"),
		At: rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 1<<33)).Draw(t, "at"),
		Last: scan.Key{
			MS:     rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(0, 1<<43), rapid.Int64Range(1.7e12, 1.9e12)).Draw(t, "ms"),
			Device: rapid.Uint32().Draw(t, "device"), ID: tag.Draw(t, "id"),
		},
	}
	s.Fenced = s.Fenced && s.Phase != ledger.Free // one bit for both
	s.Undone = s.Phase == ledger.Free && flag("undone")
	if flag("redone") {
		s.Base = s.Opening
	} else {
		s.Base = seq.Draw(t, "base")
	}
	for i := range s.Seen {
		s.Seen[i] = tag.Draw(t, "seen")
	}
	if flag("newest") {
		s.Seen = [4]uint32{s.Last.ID}
	}
	if s.Changed < s.Opening { // never so on a ledger
		s.Changed, s.Opening = s.Opening, s.Changed
	}
	return s
}

func TestEveryStateComesBackFromAtMost64Bytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		b, err := packstate.Encode(&s)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > packstate.MaxValue {
			t.Fatalf("%d bytes", len(b))
		}
		back, err := packstate.Decode(string(b))
		if err != nil || back != s {
			t.Fatalf("%+v came back as %+v, %v", s, back, err)
		}
		for n := range b { // a value cut off anywhere is refused
			if _, err := packstate.Decode(string(b[:n])); !errors.Is(err, packstate.ErrValue) {
				t.Fatalf("the first %d of %d bytes were read: %v", n, len(b), err)
			}
		}
	})
}

func TestUnreadableValuesAreRefused(t *testing.T) {
	s := settled()
	good, err := packstate.Encode(&s)
	if err != nil {
		t.Fatal(err)
	}
	for what, v := range map[string]string{
		"empty": "", "version 0": "\x00" + string(good[1:]), "version 2": string(good[0]&^3|2) + string(good[1:]),
		"a byte more": string(good) + "x", "text": "inactive",
	} {
		if s, err := packstate.Decode(v); !errors.Is(err, packstate.ErrValue) {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	for what, change := range map[string]func(*ledger.State){
		"phase 8":            func(s *ledger.State) { s.Phase = 8 },
		"operation 16":       func(s *ledger.State) { s.Op = 16 },
		"a tag of 25 bits":   func(s *ledger.State) { s.Seen[1] = 1 << 24 },
		"more than 64 bytes": func(s *ledger.State) { *s = longest() },
	} {
		s := settled()
		change(&s)
		if b, err := packstate.Encode(&s); !errors.Is(err, packstate.ErrValue) {
			t.Errorf("%s: %x, %v", what, b, err)
		}
	}
}

// longest has every field at its longest; no ledger grows so long.
func longest() ledger.State {
	return ledger.State{
		Phase: ledger.Due, Sends: 9, Calls: 9, Print: 1, Opening: 1 << 63, Changed: 1<<63 - 1, Base: 1 << 62, At: 1 << 62,
		Last: scan.Key{MS: -1}, Seen: [4]uint32{1, 2, 3, 4},
	}
}

// Any bytes are either refused, or read into a state that is written and read
// back as the same one.
func FuzzDecode(f *testing.F) {
	for _, s := range []ledger.State{{}, settled(), {Phase: ledger.Parked, Seen: [4]uint32{1, 0, 3}}} {
		b, err := packstate.Encode(&s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("\x910a000000000000000000000000") // once found: both lists of events at a time
	f.Fuzz(func(t *testing.T, v string) {
		s, err := packstate.Decode(v)
		if err != nil {
			if !errors.Is(err, packstate.ErrValue) || s != (ledger.State{}) {
				t.Fatalf("%x: %+v, %v", v, s, err)
			}
			return
		}
		b, err := packstate.Encode(&s)
		if err != nil {
			if len(v) <= packstate.MaxValue-8 {
				t.Fatalf("%x: %v", v, err) // only the limit may refuse, the sloppy input was shorter
			}
			return
		}
		back, err := packstate.Decode(string(b))
		if err != nil || back != s {
			t.Fatalf("%x: %+v came back as %+v, %v", v, s, back, err)
		}
	})
}

// A field that the codec forgets is a rule that works until the pack leaves memory.
func TestEveryFieldOfAStateIsKept(t *testing.T) {
	fields := reflect.TypeFor[ledger.State]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		s := ledger.State{Phase: ledger.Opened}
		if name == "Undone" || name == "Phase" {
			s.Phase = ledger.Free
		}
		switch f := reflect.ValueOf(&s).Elem().Field(i); f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Uint8, reflect.Uint32, reflect.Uint64:
			f.SetUint(3)
		case reflect.Int64:
			f.SetInt(1_800_000_000)
		case reflect.Struct:
			s.Last = scan.Key{MS: 1_800_000_000_000, Device: 1, ID: 2}
		case reflect.Array:
			s.Seen = [ledger.SeenMax]uint32{1, 2, 3, 4}
		default:
			t.Fatalf("field %s: a %s, teach this test about it", name, f.Kind())
		}
		if name == "Opening" {
			s.Changed = s.Opening
		}
		b, err := packstate.Encode(&s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := packstate.Decode(string(b)); err != nil || got != s {
			t.Errorf("%s is lost: %+v became %+v (%v)", name, s, got, err)
		}
	}
}
