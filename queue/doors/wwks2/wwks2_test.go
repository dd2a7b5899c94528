package wwks2

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"decom/queue"
	"decom/worker/scan"
)

const (
	code      = `0103400930000007217X4F8L2\x1d1728113110LOT42`
	codeText  = "0103400930000007217X4F8L2\x1d1728113110LOT42"
	monthCode = `0103400930000007217X4F8L2\x1D1728110010LOT42` // day 00: end of the month
	article   = "3400930000007"
)

// readPack stands for the worker's reader, for the codes of these tests.
func readPack(text string) (scan.Fields, bool) {
	rest, ok := strings.CutPrefix(text, "010340093000000721")
	serial, rest, found := strings.Cut(rest, "\x1d17")
	if !ok || !found || len(rest) < 8 {
		return scan.Fields{}, false
	}
	return scan.Fields{Scheme: "GTIN", Code: "03400930000007", Serial: serial, Expiry: rest[:6], Batch: rest[8:]}, true
}

// stream is a queue that stores, fails without effect, or stores and loses its answer.
type stream struct {
	mu     sync.Mutex
	events []scan.Event // guarded by mu, as the rest
	fails  int
	lost   int
}

func (s *stream) publish(_ context.Context, scans []queue.Scan) ([]queue.Ack, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	acks := make([]queue.Ack, len(scans))
	if s.fails > 0 {
		s.fails--
		return acks, errors.New("injected: not stored")
	}
	for i, sc := range scans {
		e, err := scan.Decode(sc.Body, scan.Meta{Site: sc.Site, Device: sc.Device})
		if err != nil {
			return acks, err
		}
		s.events = append(s.events, e)
		acks[i].Seq = uint64(len(s.events))
	}
	if s.lost > 0 {
		s.lost--
		return make([]queue.Ack, len(scans)), errors.New("injected: answer lost")
	}
	return acks, nil
}

// ids are the different scans in the stream.
func (s *stream) ids() (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if !slices.Contains(ids, e.ID) {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

func quietLog(t testing.TB) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func newListener(t *testing.T, q *stream, change func(*Config)) *Listener {
	t.Helper()
	cfg := Config{Robot: "127.0.0.1:6050", Site: "nord", Device: "rowa-1", Mode: Exit, Spool: filepath.Join(t.TempDir(), "spool")}
	if change != nil {
		change(&cfg)
	}
	l, err := New(cfg, Deps{Publish: q.publish, Read: readPack, Log: quietLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wwks(body string) string {
	return `<WWKS Version="2.0" TimeStamp="2026-11-26T16:28:45Z">` + body + `</WWKS>`
}

func output(id, status string, packs ...string) string {
	return wwks(`<OutputMessage Id="` + id + `" Source="777" Destination="100"><Details Priority="Normal" OutputDestination="1" Status="` + status +
		`"/><Article Id="1">` + strings.Join(packs, "") + `</Article></OutputMessage>`)
}

func input(newDelivery, handling, attributes string) string {
	return wwks(`<InputMessage Id="25" Source="40" Destination="100" IsNewDelivery="` + newDelivery + `"><Article Id="1"><Pack Id="77" ScanCode="` + code +
		`" ` + attributes + `><Handling Input="` + handling + `"/></Pack></Article></InputMessage>`)
}

func packOf(id, scanCode, attributes string) string {
	return `<Pack Id="` + id + `" ScanCode="` + scanCode + `" ` + attributes + `/>`
}

func TestEachRuleDecidesWhichPacksBecomeScans(t *testing.T) {
	const sent, rejected, none = "sent", "rejected", "none"
	for _, tc := range []struct {
		name string
		mode Mode
		doc  string
		want string
	}{
		{"exit, completed", Exit, output("1", "Completed", packOf("7", code, "")), sent},
		{"exit, incomplete: what is listed has left", Exit, output("1", "Incomplete", packOf("7", code, "")), sent},
		{"exit, aborted: what is listed has left", Exit, output("1", "Aborted", packOf("7", code, "")), sent},
		{"exit, box released", Exit, output("1", "BoxReleased", packOf("7", code, `BoxNumber="B1"`)), sent},
		{"exit, nothing left", Exit, output("1", "Incomplete"), none},
		{"exit, an opened box leaves", Exit, output("1", "Completed", packOf("7", code, `SubItemQuantity="5"`)), sent},
		{"exit, an input is no exit", Exit, input("True", "Completed", ""), none},
		{"input, new and stored", RobotInput, input("True", "Completed", ""), sent},
		{"input, booleans in small letters", RobotInput, input("true", "completed", ""), sent},
		{"input, it comes back", RobotInput, input("False", "Completed", ""), none},
		{"input, not said whether new", RobotInput, input("", "Completed", ""), none},
		{"input, rejected by the stock system", RobotInput, input("True", "RejectedNoSerialNumber", ""), none},
		{"input, allowed and not yet stored", RobotInput, input("True", "Allowed", ""), none},
		{"input, aborted", RobotInput, input("True", "Aborted", ""), none},
		{"input, an opened box", RobotInput, input("True", "Completed", `SubItemQuantity="3"`), none},
		{"input, an output is no input", RobotInput, output("1", "Completed", packOf("7", code, "")), none},
		{"goods in, with its delivery", GoodsIn, input("True", "Completed", `DeliveryNumber="BL1"`), sent},
		{"goods in, without a delivery", GoodsIn, input("True", "Completed", `DeliveryNumber=""`), none},
		{"request and response are the stock system's", RobotInput, wwks(`<InputRequest Id="1"><Article><Pack ScanCode="` + code + `"/></Article></InputRequest>`), none},
		{"stock is no scan", Exit, wwks(`<StockInfoMessage Id="1"><Article Id="1" Quantity="3"/></StockInfoMessage>`), none},
		{"attributes agree", Exit, output("1", "Completed", packOf("7", code, `BatchNumber="LOT42" SerialNumber="7X4F8L2" ExpiryDate="2028-11-30" ExpiryDateSource="Barcode"`)), sent},
		{"day 00 against the end of the month", Exit, output("1", "Completed", packOf("7", monthCode, `ExpiryDate="2028-11-30"`)), sent},
		{"another batch", Exit, output("1", "Completed", packOf("7", code, `BatchNumber="LOT43"`)), rejected},
		{"another serial", Exit, output("1", "Completed", packOf("7", code, `SerialNumber="OTHER"`)), rejected},
		{"another month", Exit, output("1", "Completed", packOf("7", code, `ExpiryDate="2028-10-31"`)), rejected},
		{"another month that nobody read", Exit, output("1", "Completed", packOf("7", code, `ExpiryDate="2028-10-31" ExpiryDateSource="AutoCalculated"`)), sent},
		{"another month, typed", Exit, output("1", "Completed", packOf("7", code, `ExpiryDate="2028-10-31" ExpiryDateSource="ManualEntry"`)), sent},
		{"another month by OCR", Exit, output("1", "Completed", packOf("7", code, `ExpiryDate="2028-10-31" ExpiryDateSource="OCR"`)), sent},
		{"another month from the infeed", Exit, output("1", "Completed", packOf("7", code, `ExpiryDate="2028-10-31" ExpiryDateSource="Infeed"`)), sent},
		{"another month, source unknown", Exit, output("1", "Completed", packOf("7", code, `ExpiryDate="2028-10-31" ExpiryDateSource="Unknown"`)), sent},
		{"no expiry at all", Exit, output("1", "Completed", packOf("7", code, `ExpiryDate="1899-12-31"`)), sent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newListener(t, &stream{}, func(c *Config) { c.Mode = tc.mode })
			e, err := parse([]byte(tc.doc))
			if err != nil {
				t.Fatal(err)
			}
			found, _ := l.read(l.cfg.address(), e)
			if len(found) == 0 {
				if tc.want != none {
					t.Error("not taken")
				}
				return
			}
			ev, err := scan.Decode(found[0].scan.Body, scan.Meta{Site: "nord", Device: "rowa-1"})
			if err != nil {
				t.Fatal(err)
			}
			got := sent
			if ev.Scan == "" && strings.HasPrefix(ev.Conflict, "ScanCode 03400930000007 / 7X4F8L2 / LOT42 / 281131 (YYMMDD); ") {
				got = rejected
			} else if want := unescape(tc.doc[strings.Index(tc.doc, "0103"):][:len(code)]); ev.Scan != want {
				t.Errorf("sent %q, want %q", ev.Scan, want)
			}
			if got != tc.want || len(found) != 1 || ev.Op != scan.Supply || scan.Time(ev.At) != "2026-11-26T16:28:45.000Z" {
				t.Errorf("%s, want %s: %+v", got, tc.want, ev)
			}
		})
	}
}

func TestWhatIsNoPacksCodeIsSentAsItIs(t *testing.T) {
	l := newListener(t, &stream{}, nil)
	e, err := parse([]byte(output("1", "Completed", packOf("7", article, `BatchNumber="L" SerialNumber="S"`))))
	if err != nil {
		t.Fatal(err)
	}
	found, _ := l.read(l.cfg.address(), e)
	if len(found) != 1 || found[0].pack || !strings.Contains(string(found[0].scan.Body), `"scan":"`+article+`"`) || strings.Contains(string(found[0].scan.Body), `"batch"`) {
		t.Errorf("%s", found[0].scan.Body)
	}
}

func TestTheIdStaysWhenTheRobotTellsAPackAgain(t *testing.T) {
	id := func(robot, doc string) string {
		l := newListener(t, &stream{}, func(c *Config) { c.Robot = robot })
		e, err := parse([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		found, _ := l.read(l.cfg.address(), e)
		return found[0].scan.ID
	}
	const robot = "127.0.0.1:6050"
	first := id(robot, output("1", "BoxReleased", packOf("7", code, "")))
	again := strings.Replace(output("1", "Completed", packOf("7", code, `BoxNumber="2"`)), "16:28:45", "17:00:00", 1)
	if got := id(robot, again); got != first {
		t.Errorf("released as %s, completed as %s", first, got)
	}
	for name, other := range map[string]string{
		"another order": id(robot, output("2", "Completed", packOf("7", code, ""))), "another pack": id(robot, output("1", "Completed", packOf("8", code, ""))),
		"another code": id(robot, output("1", "Completed", packOf("7", monthCode, ""))), "another robot": id("127.0.0.2:6050", output("1", "Completed", packOf("7", code, ""))),
	} {
		if other == first {
			t.Errorf("%s has the same id", name)
		}
	}
}

func TestControlCharactersAreReadAsTheRobotWritesThem(t *testing.T) {
	for in, want := range map[string]string{
		code: codeText, `a\x1Db\x1db`: "a\x1db\x1db", `[)>\x1e06\x1d`: "[)>\x1e06\x1d", `a\x1`: `a\x1`, `a\xzz`: `a\xzz`, `\x41`: `\x41`, `a\`: `a\`, "a": "a", `\x1d`: "\x1d",
	} {
		if got := unescape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestDocumentsAreFoundHoweverThePacketsCutThem(t *testing.T) {
	one, two := output("1", "Completed", packOf("7", code, "")), input("True", "Completed", "")
	junk := `<?xml version="1.0" encoding="UTF-8"?>` + "\r\n"
	all := "noise" + junk + one + junk + two + "<WWKS Version=\"2.0\"><OutputMess" + one + "\x00" + two
	want := []string{one, two, one, two}
	for _, size := range []int{1, 2, 3, 7, 100, len(all)} {
		var f framer
		var got []string
		for i := 0; i < len(all); i += size {
			for _, d := range f.add([]byte(all[i:min(i+size, len(all))])) {
				got = append(got, string(d))
			}
		}
		if !slices.Equal(got, want) || f.skipped != 1 || f.rest() != 0 {
			t.Errorf("packets of %d: %d documents, %d skipped, rest %d\n%q", size, len(got), f.skipped, f.rest(), got)
		}
	}
	var f framer // one that is too long costs itself only, and no memory
	for range 40 {
		f.add([]byte(strings.Repeat("<", 100_000)))
	}
	if docs := f.add([]byte("</WWKS>" + one)); len(f.buf) > maxDocument || !slices.ContainsFunc(docs, func(d []byte) bool { return string(d) == one }) {
		t.Errorf("%d documents after a long one, %d bytes kept", len(docs), len(f.buf))
	}
}

func TestHostileDocumentsAreRefused(t *testing.T) {
	for name, doc := range map[string]string{
		"entities": `<WWKS><!DOCTYPE x [<!ENTITY a "b">]><OutputMessage/></WWKS>`, "depth": "<WWKS>" + strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100) + "</WWKS>",
		"not closed": `<WWKS><OutputMessage></WWKS>`, "bad attribute": `<WWKS><OutputMessage Id=1/></WWKS>`,
		"packs": "<WWKS><OutputMessage><Article>" + strings.Repeat("<Pack/>", maxPacks+1) + "</Article></OutputMessage></WWKS>", "other root": `<X></X>`,
	} {
		if _, err := parse([]byte(doc)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTheConfigurationIsJudged(t *testing.T) {
	for _, c := range []Config{{}, {Robot: "x", Site: "a", Device: "b", Mode: Exit, Spool: "s"}, {Robot: "h:1", Site: "a.b", Device: "b", Mode: Exit, Spool: "s"}, {Robot: "h:1", Site: "a", Device: "b", Mode: "in", Spool: "s"}} {
		if c.Validate() == nil {
			t.Errorf("%+v accepted", c)
		}
	}
}
