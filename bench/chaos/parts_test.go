package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"decom/worker/ledger"

	"github.com/anishathalye/porcupine"
)

// The judge's own parts must be able to say no.

// TestAHistoryThatNoRegisterCouldHaveIsFound holds the model against histories with one
// wrong answer each.
func TestAHistoryThatNoRegisterCouldHaveIsFound(t *testing.T) {
	t.Parallel()
	var c chain
	for i, h := range []string{"a", "b", "c"} {
		c.add(uint64(2*i+1), h) // 1, 3, 5: another account's records lie between
	}
	at := func(o op, call, ret int) *op { o.call, o.ret = time.Duration(call), time.Duration(ret); return &o }
	add := func(prev uint64, hash string, out answer, seq uint64) op {
		return op{append: true, prev: prev, hash: hash, out: out, seq: seq}
	}
	read := func(from uint64, out answer, seq uint64) op { return op{from: from, out: out, seq: seq} }
	good := []*op{at(add(0, "a", won, 1), 1, 2), at(add(0, "x", lost, 1), 1, 3), at(add(1, "b", unknown, 0), 4, 0), at(add(3, "c", won, 5), 9, 10)}
	for _, tt := range []struct {
		name string
		more []*op
		want porcupine.CheckResult
	}{
		{"as it was", nil, porcupine.Ok},
		{"the last one, read", []*op{at(read(0, found, 5), 11, 12)}, porcupine.Ok},
		{"an older last one, read beside the append", []*op{at(read(0, found, 3), 9, 12)}, porcupine.Ok},
		{"a record that was not there yet", []*op{at(read(2, nothing, 0), 3, 4)}, porcupine.Ok},
		{"a repeat that is there already", []*op{at(add(3, "c", duplicate, 5), 11, 12)}, porcupine.Ok},

		{"a stale last one", []*op{at(read(0, found, 3), 11, 12)}, porcupine.Illegal},
		{"a record of the future", []*op{at(read(0, found, 5), 3, 4)}, porcupine.Illegal},
		{"nothing where a record is", []*op{at(read(4, nothing, 0), 11, 12)}, porcupine.Illegal},
		{"a record passed over", []*op{at(read(2, found, 5), 11, 12)}, porcupine.Illegal},
		{"refused though it fitted", []*op{at(add(5, "y", lost, 0), 11, 12)}, porcupine.Illegal},
		{"refused for the wrong record", []*op{at(add(1, "y", lost, 3), 11, 12)}, porcupine.Illegal},
		{"won twice", []*op{at(add(3, "z", won, 7), 11, 12)}, porcupine.Illegal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, _ := checkHistory(append(slices.Clone(good), tt.more...), &c, time.Minute); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	if _, _, bad := checkHistory([]*op{at(add(0, "gone", won, 1), 1, 2)}, &c, time.Minute); len(bad) != 1 {
		t.Errorf("an acknowledged record that is not there was taken: %v", bad)
	}
}

// TestTheTapReadsWhatPassesHoweverItIsCut feeds a conversation in pieces of every size.
func TestTheTapReadsWhatPassesHoweverItIsCut(t *testing.T) {
	t.Parallel()
	header := "NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 7\r\n\r\n"
	body := `{"v":2,"x":"\r\n"}`
	up := "CONNECT {}\r\nPING\r\nPUB other.subject 3\r\nabc\r\n" +
		fmt.Sprintf("HPUB decom.ledger.acc _INBOX.1 %d %d\r\n%s%s\r\n", len(header), len(header)+len(body), header, body)
	ack := `{"stream":"DECOM_LEDGER","seq":9}`
	down := "INFO {}\r\nPONG\r\n" + fmt.Sprintf("MSG _INBOX.1 5 %d\r\n%s\r\n", len(ack), ack)
	for _, size := range []int{1, 2, 3, 7, 1000} {
		tap := newTap()
		sent, answered := tap.connection()
		for _, x := range []struct {
			text string
			feed func([]byte)
		}{{up, sent}, {down, answered}} {
			for piece := range slices.Chunk([]byte(x.text), size) {
				x.feed(piece)
			}
		}
		ops := tap.history()
		if len(ops) != 1 || !ops[0].append || ops[0].prev != 7 || ops[0].out != won || ops[0].seq != 9 || ops[0].account != "acc" || ops[0].hash != ledger.Hash([]byte(body)) {
			t.Fatalf("pieces of %d bytes: %+v", size, ops)
		}
	}
}

// TestEveryFaultComesAloneAndCombined holds the plans of 400 seeds against the table of
// faults: each kind is drawn, alone and with others, and never on servers that cannot have it.
func TestEveryFaultComesAloneAndCombined(t *testing.T) {
	t.Parallel()
	alone, combined, runs := map[string]int{}, map[string]int{}, 0
	for seed := range uint64(400) {
		p := draw(seed)
		if again := draw(seed); again.String() != p.String() {
			t.Fatalf("seed %d draws two plans:\n%s\n%s", seed, p, again)
		}
		for i, s := range p.Steps {
			if p.Combined {
				combined[s.Fault]++
			} else {
				alone[s.Fault]++
			}
			others := p
			others.Steps = append(slices.Clone(p.Steps[:i]), p.Steps[i+1:]...)
			if !faultByName(s.Fault).fits(others) {
				t.Errorf("seed %d: %s cannot happen to %s", seed, s.Fault, p)
			}
		}
		if p.Combined {
			runs++
		}
	}
	for _, k := range faultKinds() {
		if alone[k.name] < 3 || combined[k.name] < 1 {
			t.Errorf("%s: %d times alone, %d times combined", k.name, alone[k.name], combined[k.name])
		}
	}
	if runs < 100 {
		t.Errorf("%d combined plans of 400", runs)
	}
}

// TestASlopeIsSeenThroughNoise holds the soak's judge against series that grow and series
// that only wave.
func TestASlopeIsSeenThroughNoise(t *testing.T) {
	t.Parallel()
	const n = 200
	at, flat, leak := make([]time.Duration, n), make([]float64, n), make([]float64, n)
	for i := range n {
		at[i] = time.Duration(i) * time.Second
		flat[i] = 50 + float64(i%7) // saw teeth
		if i%50 == 10 {
			flat[i] += 100 // a burst
		}
		leak[i] = flat[i] + 0.1*float64(i)
	}
	if gain, median := growth(at, flat); gain > 1 || median < 50 || median > 56 {
		t.Errorf("flat: gain %.2f, median %.1f", gain, median)
	}
	if gain, _ := growth(at, leak); gain < 9 || gain > 11 { // 0.1 a second over the second half
		t.Errorf("leak: gain %.2f, want 10", gain)
	}
}
