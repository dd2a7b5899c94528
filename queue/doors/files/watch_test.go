package files

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"decom/queue"
	"decom/worker/scan"
)

const packText = "]d20103400930000007217X4F8L2\x1d17281100\x1d10LOT42"

// stream is a queue that stores, fails without effect, or stores and loses its answer.
type stream struct {
	events []scan.Event
	fails  int // the next so many publishes do not store
	lost   int // the next so many store, and the answer is lost
}

func (s *stream) publish(_ context.Context, scans []queue.Scan) ([]queue.Ack, error) {
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

// ids are the different scans in the stream, in order.
func (s *stream) ids() (ids []string) {
	for _, e := range s.events {
		if id := e.ID + "@" + scan.Time(e.At); !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// watched is a folder of a test and the clock of its looks.
type watched struct {
	t   *testing.T
	dir string
	q   *stream
	f   Folder
	now time.Time
}

func newWatched(t *testing.T) *watched {
	dir := t.TempDir()
	return &watched{t: t, dir: dir, q: &stream{}, now: time.Now(), f: Folder{Path: dir, Site: "nord", Device: "drop", Stable: time.Second}}
}

// start is a process that begins to watch.
func (w *watched) start() *Watcher {
	w.t.Helper()
	d := Deps{Publish: w.q.publish, Log: slog.New(slog.NewTextHandler(w.t.Output(), nil)), Read: func(e scan.Event) (scan.Reason, scan.Text, bool) {
		return "case", scan.Message(e.Op, scan.Rejected, "case"), strings.HasPrefix(e.Scan, "]D2")
	}}
	wat, err := NewWatcher(w.f, d)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(wat.memo.close)
	return wat
}

// look has the watcher look now and once more when files have been still.
func (w *watched) look(wat *Watcher) {
	for range 2 {
		wat.Look(w.t.Context(), w.now)
		w.now = w.now.Add(2 * time.Second)
	}
}

func (w *watched) put(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// list names the files of a folder.
func (w *watched) list(sub string) string {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, sub))
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

func (w *watched) read(name string) string {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func TestEveryKindOfFileIsReadRowByRowAndReported(t *testing.T) {
	utf16le := func(s string) string {
		b := []byte{0xff, 0xfe}
		for _, u := range utf16.Encode([]rune(s)) {
			b = binary.LittleEndian.AppendUint16(b, u)
		}
		return string(b)
	}
	table := "gtin;s\u00e9rie;lot;p\u00e9remption\n03400930000007;7X4F8L2;LOT42;281100\n"
	const one = `1;stored;`
	for _, tc := range []struct {
		name, file, text string
		change           func(*Folder)
		scans            int
		report           []string // its rows, by their beginning; line numbers are the file's
	}{
		{"raw lines", "a.txt", packText + "\r\n\n" + packText + "\n", nil, 2, []string{"1;stored;", "3;stored;"}},
		{"JSON lines", "a.jsonl", `{"scan":"x","op":"verify"}` + "\n{bad\n" + `{"scan":"y"}` + "\n", nil, 2, []string{"2;refused;;;malformed;", "1;stored;", "3;stored;"}},
		{"rejected later", "a.txt", "]D2" + packText[3:], nil, 1, []string{"1;stored_will_be_rejected;"}},
		{"CSV", "A.CSV", table, nil, 1, []string{"2;stored;"}},
		{"CSV in Windows-1252", "a.csv", "gtin;s\xe9rie;lot;p\xe9remption\n03400930000007;7X4F8L2;LOT42;281100\n", nil, 1, []string{"2;stored;"}},
		{"CSV in UTF-16", "a.csv", utf16le(strings.ReplaceAll(table, ";", "\t")), nil, 1, []string{"2;stored;"}},
		{"raw lines in UTF-16", "a.txt", utf16le(packText + "\r\n"), nil, 1, []string{one}},
		{"a table whose columns are given", "a.dat", "03400930000007|x|7X4F8L2|LOT42|281100\n", func(f *Folder) {
			f.Table, f.CSV = true, CSVOptions{Separator: '|', Columns: []string{"gtin", "-", "serial", "batch", "expiry"}}
		}, 1, []string{one}},
		{"a row of another site", "a.csv", "scan,site\nx,sud\ny,nord\n", nil, 1, []string{"2;refused;", "3;stored;"}},
		{"an operation of the folder", "a.txt", packText, func(f *Folder) { f.Op, f.Entry = "destroy", "manual" }, 1, []string{one}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWatched(t)
			if tc.change != nil {
				tc.change(&w.f)
			}
			w.put(tc.file, tc.text)
			w.look(w.start())
			if got := w.list("."); got != "" {
				t.Fatalf("left in the folder: %s", got)
			}
			if len(w.q.events) != tc.scans || len(w.q.ids()) != tc.scans {
				t.Errorf("stored %v, want %d", w.q.ids(), tc.scans)
			}
			if w.f.Op != "" && (w.q.events[0].Op != scan.Destroy || w.q.events[0].Entry != scan.Manual) {
				t.Errorf("%+v", w.q.events[0])
			}
			rep := w.read("done/" + tc.file + ".report.csv")
			rows := strings.Split(strings.TrimSpace(rep), "\r\n")[1:]
			for i, want := range tc.report {
				if len(rows) != len(tc.report) || !strings.HasPrefix(rows[i], want) {
					t.Fatalf("report:\n%s\nwant rows %q", rep, tc.report)
				}
			}
			if strings.Contains(rep, "7X4F8L2") {
				t.Errorf("a serial in the report:\n%s", rep)
			}
		})
	}
}

func TestAFileThatIsBeingWrittenIsWaitedFor(t *testing.T) {
	w := newWatched(t)
	wat := w.start()
	for i := range 4 {
		w.put("slow.txt", strings.Repeat(packText+"\n", i+1)) // grows between looks
		wat.Look(t.Context(), w.now)
		w.now = w.now.Add(900 * time.Millisecond)
	}
	w.put("copy.txt.part", packText+"\n")
	w.put("copy.tmp", packText+"\n")
	w.put(".hidden", packText+"\n")
	w.put("empty.txt", "")
	w.look(wat)
	if got := w.list("."); got != ".hidden copy.tmp copy.txt.part empty.txt" || len(w.q.events) != 4 {
		t.Fatalf("left %q, stored %d", got, len(w.q.events))
	}
	if err := os.Rename(filepath.Join(w.dir, "copy.txt.part"), filepath.Join(w.dir, "copy.txt")); err != nil {
		t.Fatal(err)
	}
	w.look(wat)
	if len(w.q.events) != 5 {
		t.Errorf("stored %d, want 5", len(w.q.events))
	}
	w.now = w.now.Add(time.Minute)
	w.look(wat)
	if got := w.list("failed"); got != "empty.txt empty.txt.report.csv" {
		t.Errorf("failed: %q", got)
	}
}

func TestAFileSentAgainDoesNothingAndSaysSo(t *testing.T) {
	w := newWatched(t)
	w.put("a.txt", packText+"\n")
	w.look(w.start())
	for i, name := range []string{"a.txt", "renamed.txt"} { // in another process, with another time
		w.put(name, packText+"\n")
		w.look(w.start())
		if len(w.q.events) != 1 || w.list(".") != "" {
			t.Fatalf("try %d: stored %d, left %q", i, len(w.q.events), w.list("."))
		}
	}
	if got := w.list("done"); got != "a.2.txt a.2.txt.report.csv a.txt a.txt.report.csv renamed.txt renamed.txt.report.csv" {
		t.Errorf("done: %s", got)
	}
	for _, name := range []string{"a.2.txt", "renamed.txt"} {
		if rep := w.read("done/" + name + ".report.csv"); !strings.Contains(rep, "déjà été envoyé") || !strings.Contains(rep, "sent on") || !strings.Contains(rep, "a.txt") {
			t.Errorf("%s", rep)
		}
	}
	w.put("more.txt", packText+"\n"+packText+"\n") // another content is another file
	w.look(w.start())
	if len(w.q.events) != 3 {
		t.Errorf("stored %d, want 3", len(w.q.events))
	}
}

// The process dies after every step there is, the file's time is changed meanwhile, and the
// queue fails in both ways: the scans are the same ones, and all of them.
func TestACrashAtAnyStepSendsTheSameScansAgain(t *testing.T) {
	text := strings.Repeat(packText+"\n", batch+3) + `{"scan":"z","op":"undo_supply"}` + "\n"
	for _, tc := range []struct {
		name  string
		step  string
		fault func(*stream)
	}{
		{"nothing", "", nil}, {"after a batch", "batch", nil}, {"published", "published", nil}, {"reported", "reported", nil}, {"noted", "noted", nil},
		{"not stored", "", func(s *stream) { s.fails = 1 }}, {"answer lost", "", func(s *stream) { s.lost = 1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWatched(t)
			w.put("a.txt", text)
			if tc.fault != nil {
				tc.fault(w.q)
			}
			wat := w.start()
			type died struct{}
			wat.step = func(s string) {
				if s == tc.step {
					panic(died{})
				}
			}
			func() {
				defer func() {
					if r := recover(); r != nil && r != (died{}) {
						panic(r)
					}
				}()
				w.look(wat)
			}()
			if tc.name != "nothing" && w.list(".") != "a.txt" {
				t.Fatalf("the fault did not happen: %q", w.list("."))
			}
			if w.list(".") != "" {
				touched := time.Now().Add(-time.Hour)
				if err := os.Chtimes(filepath.Join(w.dir, "a.txt"), touched, touched); err != nil {
					t.Fatal(err)
				}
			}
			w.look(w.start())
			if got := w.q.ids(); len(got) != batch+4 || w.list(".") != "" {
				t.Errorf("%d different scans, want %d; left %q", len(got), batch+4, w.list("."))
			}
			if got := w.list("done"); !strings.HasPrefix(got, "a.txt a.txt.report.csv") {
				t.Errorf("done: %s", got)
			}
			if rows := strings.Count(w.read("done/a.txt.report.csv"), "\r\n"); rows != batch+5 {
				t.Errorf("the report has %d lines", rows)
			}
		})
	}
}

func TestWhatCannotBeReadIsPutAsideWithItsReason(t *testing.T) {
	w := newWatched(t)
	w.put("a.csv", "price,name\n1,x\n")
	w.put("b.csv", "\xff\xfeabc")
	w.put("c.txt", packText+"\n")
	w.look(w.start())
	if got := w.list("failed"); got != "a.csv a.csv.report.csv b.csv b.csv.report.csv" || len(w.q.events) != 1 {
		t.Fatalf("failed %q, stored %d", got, len(w.q.events))
	}
	for name, want := range map[string][]string{
		"a": {"doit nommer une colonne scan", "must name a column scan"},
		"b": {"finit par un demi-caractère", "ends in half a character"},
	} {
		for _, sentence := range want {
			if rep := w.read("failed/" + name + ".csv.report.csv"); strings.Count(rep, sentence) != 1 {
				t.Errorf("%s: %q is not there once: %s", name, sentence, rep)
			}
		}
	}
}

func TestHalfALineOfTheMemoryIsForgottenAndABrokenOneIsTold(t *testing.T) {
	w := newWatched(t)
	w.put("a.txt", packText+"\n")
	w.look(w.start())
	name := filepath.Join(w.dir, ".decom", "files.jsonl")
	good := w.read(".decom/files.jsonl")
	w.put(".decom/files.jsonl", good+`{"sha256":"ab`)
	w.put("a.txt", packText+"\n")
	w.look(w.start())
	if len(w.q.events) != 1 {
		t.Errorf("stored %d, want 1", len(w.q.events))
	}
	if err := os.WriteFile(name, []byte("{bad\n"+good), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewWatcher(w.f, Deps{Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "at byte 0") {
		t.Errorf("%v", err)
	}
}
