package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"decom/queue/doors"
	"decom/queue/doors/files"
	"decom/worker/scan"
)

// A pack of a French presentation (CIP13 3400930000007), as scanned.
const (
	packText = "]d20103400930000007217X4F8L2\x1d17281100\x1d10LOT42"
	packJSON = `{"scheme":"GTIN","code":"03400930000007","serial":"7X4F8L2","batch":"LOT42","expiry":"281100"}`
)

// mangled is packText as a US scanner types it on a French keyboard.
func mangled() string {
	from, to := "1234567890", []rune("&é\"'(-è_çà")
	var b strings.Builder
	for _, r := range packText {
		switch i := strings.IndexRune(from, r); {
		case i >= 0:
			b.WriteRune(to[i])
		case r == ']':
			b.WriteRune('$')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func TestDryRunTellsHowEachKindOfLineReads(t *testing.T) {
	ok := `"ok":true,"pack":` + packJSON + `,"repaired":false}`
	no := func(reason string, offset int) string {
		m := scan.Message(scan.Supply, scan.Rejected, scan.Reason(reason))
		return fmt.Sprintf(`"ok":false,"result":"rejected","reason":%q,"offset":%d,"message":%s}`, reason, offset, doors.Encode(m))
	}
	quoted := string(doors.Encode(packText))
	for _, tc := range []struct{ name, line, want string }{
		{"raw", packText, ok},
		{"raw with CR", packText + "\r", ok},
		{"without symbology identifier", strings.TrimPrefix(packText, "]d2"), ok},
		{"JSON string", quoted, ok},
		{"JSON event", `{"scan":` + quoted + `}`, ok},
		{"JSON event with a pack", `{"op":"verify","pack":` + packJSON + `}`, ok},
		{"CloudEvent", `{"specversion":"1.0","id":"x","data":{"scan":` + quoted + `}}`, ok},
		{"bracketed", "(01)03400930000007(21)7X4F8L2(17)281100(10)LOT42", ok},
		{"Digital Link", "https://id.example/01/03400930000007/10/LOT42/21/7X4F8L2?17=281100", ok},
		{"keyboard", mangled(), strings.Replace(ok, "false}", "true}", 1)},
		{"keyboard in Windows-1252", strings.NewReplacer("é", "\xe9", "è", "\xe8", "ç", "\xe7", "à", "\xe0").Replace(mangled()), strings.Replace(ok, "false}", "true}", 1)},
		{"Caps Lock", "]D2" + packText[3:], no("case", 1)},
		{"another layout", "+d2" + packText[3:], no("layout", 0)},
		{"wrong check digit", strings.Replace(packText, "03400930000007", "03400930000008", 1), no("check_digit", 5)},
		{"empty", "", no("malformed", 0)},
		{"empty JSON string", `""`, no("malformed", 0)},
		{"broken JSON string", `"abc`, no("malformed", 0)},
		{"broken JSON", `{"scan":`, no("malformed", 0)},
		{"wrong type", `{"scan":1}`, no("malformed", 0)},
		{"unknown operation", `{"op":"eat","scan":` + quoted + `}`, no("malformed", 0)},
		{"too large", `{"scan":"` + strings.Repeat("x", scan.MaxEvent) + `"}`, no("malformed", 0)},
		{"1 MiB", strings.Repeat("x", 1<<20), no("malformed", 0)},
		{"bracketed, cut off", "(01)03400930000007(21)7X4F8L2", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := inProcess(t, nil, "\n"+tc.line+"\n"+packText, "publish", "--dry-run", "--json")
			lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
			if r.code != 0 || r.stderr != "" || len(lines) != 3 {
				t.Fatalf("code %d, stderr %s, %d lines, want 3:\n%s", r.code, r.stderr, len(lines), r.stdout)
			}
			if lines[2] != `{"line":3,`+ok {
				t.Errorf("the next line suffers: %s", lines[2])
			}
			if tc.want == "" {
				if !strings.Contains(lines[1], `"ok":false`) {
					t.Errorf("accepted: %s", lines[1])
				}
			} else if want := `{"line":2,` + tc.want; lines[1] != want {
				t.Errorf("got  %s\nwant %s", lines[1], want)
			}
		})
	}
}

func TestDryRunNeedsNoConfigurationAndSpeaksBothLanguages(t *testing.T) {
	for lang, want := range map[string]string{"fr": "verrouillage majuscule", "en": "Caps Lock"} {
		r := inProcess(t, []string{"DECOM_CONFIG=/nowhere"}, packText+"\n]D2x\n", "publish", "--dry-run", "--lang", lang)
		if r.code != 0 || !strings.Contains(r.stdout, "7X4F8L2") || !strings.Contains(r.stdout, want) {
			t.Errorf("%s: %+v", lang, r)
		}
	}
}

func TestCSVIsReadWhateverExcelMadeOfIt(t *testing.T) {
	const ok = `"ok":true,"pack":` + packJSON
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"commas", "gtin,serial,batch,expiry\n03400930000007,7X4F8L2,LOT42,281100\n", []string{ok}},
		{"semicolons, BOM, CRLF", "\ufeffGTIN;Serial;Lot;Exp\r\n03400930000007;7X4F8L2;LOT42;281100\r\n", []string{ok}},
		{"tabs, French", "code produit\tsérie\tlot\tpéremption\n03400930000007\t7X4F8L2\tLOT42\t281100\n", []string{ok}},
		{"Windows-1252", "gtin;s\xe9rie;lot;p\xe9remption\n03400930000007;7X4F8L2;LOT42;281100\n", []string{ok}},
		{"scan column", "ref,scan\nBL-1,\"" + packText + "\"\n", []string{ok}},
		{"bracketed scan", "scan\n(01)03400930000007(21)7X4F8L2(17)281100(10)LOT42\n", []string{ok}},
		{"other columns and order", "price,expiry,lot,serial,gtin\n1,281100,LOT42,7X4F8L2,03400930000007\n", []string{ok}},
		{"zeros lost", "gtin,serial,batch,expiry\n3400930000007,7X4F8L2,LOT42,281100\n", []string{`"reason":"length"`}},
		{"Excel's number", "gtin,serial,batch,expiry\n\"3,4E+12\",7X4F8L2,LOT42,281100\n", []string{`"ok":false`}},
		{"short line, then good", "gtin,serial,batch,expiry\n03400930000007\n03400930000007,7X4F8L2,LOT42,281100\n", []string{`"ok":false`, ok}},
		{"broken quotes, then good", "gtin,serial,batch,expiry\n\"034\"009,a,b,c\n03400930000007,7X4F8L2,LOT42,281100\n", []string{`"reason":"malformed"`, ok}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := write(t, t.TempDir(), "Scans.CSV", tc.text)
			for _, r := range []result{
				inProcess(t, nil, "", "publish", "--dry-run", "--json", file),
				inProcess(t, nil, tc.text, "publish", "--dry-run", "--json", "--csv"),
			} {
				lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
				if r.code != 0 || len(lines) != len(tc.want) {
					t.Fatalf("%+v", r)
				}
				for i, want := range tc.want {
					if !strings.Contains(lines[i], want) || !strings.HasPrefix(lines[i], fmt.Sprintf(`{"line":%d,`, i+2)) {
						t.Errorf("line %d: %s, want %s", i+2, lines[i], want)
					}
				}
			}
		})
	}
	r := inProcess(t, nil, "sep=;\r\ngtin;serial;batch;expiry;ref\r\n03400930000007;7X4F8L2;LOT42;281100;a,b,c,d,e,f\r\n", "publish", "--dry-run", "--csv", "--json")
	if r.stdout != `{"line":3,`+ok+`,"repaired":false}`+"\n" {
		t.Errorf("Excel's sep line: %+v", r)
	}
	r = inProcess(t, nil, "a,b\n1,2\n", "publish", "--dry-run", "--csv")
	if r.code != exitFailure || !strings.Contains(r.stderr, "must name a column scan") {
		t.Errorf("no header: %+v", r)
	}
}

// fakeQueue takes events and acknowledges as it is told.
type fakeQueue struct {
	events []files.Event
	fail   map[int]error // by number of the event, from 0
	calls  int
}

func (q *fakeQueue) send(_ context.Context, events []files.Event) (acks []ack, err error) {
	q.calls++
	for _, ev := range events {
		a := ack{seq: uint64(len(q.events)) + 1}
		if ferr := q.fail[len(q.events)]; ferr != nil {
			a, err = ack{}, errors.Join(err, ferr)
		}
		acks = append(acks, a)
		q.events = append(q.events, ev)
	}
	return acks, err
}

// publishTo publishes text (or FILE) to q, without any configuration.
func publishTo(t *testing.T, q *fakeQueue, f publishFlags, stdin io.Reader, name string) (out, errs string, err error) {
	t.Helper()
	if f.site == "" {
		f.site, f.device = "nord", "rowa-1"
	}
	var o, e syncBuffer
	a := &app{stdin: stdin, stdout: &o, stderr: &e, lang: english}
	d, err := f.defaults()
	if err != nil {
		t.Fatal(err)
	}
	in, closeInput, err := a.openInput(name, f, &d)
	if err != nil {
		t.Fatal(err)
	}
	defer closeInput()
	p := publisher{app: a, json: f.json, send: q.send}
	err = p.run(t.Context(), in, &d)
	return o.String(), e.String(), err
}

func ids(events []files.Event) (all []string) {
	for _, ev := range events {
		all = append(all, ev.ID+"@"+scan.Time(ev.Decoded.At))
	}
	return all
}

func TestPublishingAFileAgainGivesTheSameIdsAndTimes(t *testing.T) {
	// The same line twice is two scans: a robot reads a pack twice.
	text := packText + "\n" + packText + "\n\n" + `{"scan":"x"}` + "\n"
	name := write(t, t.TempDir(), "scans.txt", text)
	written := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(name, written, written); err != nil {
		t.Fatal(err)
	}
	var first, again, renamed, redirected fakeQueue
	for _, q := range []*fakeQueue{&first, &again} {
		if _, _, err := publishTo(t, q, publishFlags{}, nil, name); err != nil {
			t.Fatal(err)
		}
	}
	if len(first.events) != 3 || !slices.Equal(ids(first.events), ids(again.events)) {
		t.Errorf("first %v, again %v", ids(first.events), ids(again.events))
	}
	seen := map[string]bool{}
	for i, ev := range first.events {
		at := ev.Decoded.At
		if at.After(written) || at.Before(written.Add(-time.Second)) || i > 0 && !at.After(first.events[i-1].Decoded.At) {
			t.Errorf("line %d is at %s, the file of %s", ev.Line, at, written)
		}
		if seen[ev.ID] {
			t.Errorf("id %s twice", ev.ID)
		}
		seen[ev.ID] = true
	}
	// decom publish < FILE is the same file.
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, _, err := publishTo(t, &redirected, publishFlags{}, f, "-"); err != nil || !slices.Equal(ids(first.events), ids(redirected.events)) {
		t.Errorf("redirected %v, %v", ids(redirected.events), err)
	}
	// Another device's, another operation's and a changed file's scans are others.
	later := written.Add(time.Second)
	if _, _, err := publishTo(t, &renamed, publishFlags{site: "nord", device: "rowa-2"}, nil, name); err != nil {
		t.Fatal(err)
	}
	if _, _, err := publishTo(t, &renamed, publishFlags{site: "nord", device: "rowa-1", op: "destroy"}, nil, name); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, later, later); err != nil {
		t.Fatal(err)
	}
	if _, _, err := publishTo(t, &renamed, publishFlags{}, nil, name); err != nil {
		t.Fatal(err)
	}
	for _, ev := range renamed.events {
		if seen[ev.ID] {
			t.Errorf("id %s of line %d is that of another scan", ev.ID, ev.Line)
		}
	}
}

func TestLinesOfAPipeAndUndosCountAsNow(t *testing.T) {
	name := write(t, t.TempDir(), "scans.txt", packText+"\n")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(name, old, old); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Second)
	var pipe, undo, given fakeQueue
	for range 2 {
		if _, _, err := publishTo(t, &pipe, publishFlags{}, strings.NewReader(packText+"\n"+packText+"\n"), "-"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // a second call is later by the clock's own steps
		if _, _, err := publishTo(t, &undo, publishFlags{site: "nord", device: "d", op: "undo_supply"}, nil, name); err != nil {
			t.Fatal(err)
		}
		if _, _, err := publishTo(t, &given, publishFlags{site: "nord", device: "d", at: "2026-01-02T03:04:05Z"}, strings.NewReader(packText), "-"); err != nil {
			t.Fatal(err)
		}
	}
	for _, ev := range append(pipe.events, undo.events...) {
		if ev.Decoded.At.Before(before) {
			t.Errorf("%s line %d is at %s, want now", ev.Decoded.Op, ev.Line, ev.Decoded.At)
		}
	}
	unique := ids(append(pipe.events, undo.events...))
	slices.Sort(unique)
	if n := len(slices.Compact(unique)); n != 6 {
		t.Errorf("%d different scans, want 6", n)
	}
	if got := ids(given.events); got[0] != got[1] || !strings.HasSuffix(got[0], "@2026-01-02T03:04:05.000Z") {
		t.Errorf("--at: %v", got)
	}
}

func TestWhatALineSaysWinsOverTheFlags(t *testing.T) {
	const line = `{"id":"x1","op":"destroy","entry":"manual","at":"2026-01-02T03:04:05Z","ref":"BL-1","scan":"abc<&>"}`
	cloud := `{"specversion":"1.0","id":"ce1","type":"t","data":{"scan":"abc"}}`
	csv := "scan,op,site,device,ref,atd_checked\nabc,lock,sud,d2,R,oui\nabc,,,,,\n"
	var q, table fakeQueue
	f := publishFlags{site: "nord", device: "d", op: "export"}
	if _, _, err := publishTo(t, &q, f, strings.NewReader(line+"\n"+cloud+"\n"), "-"); err != nil {
		t.Fatal(err)
	}
	e := q.events[0].Decoded
	if e.ID != "x1" || e.Op != scan.Destroy || e.Entry != scan.Manual || e.Ref != "BL-1" || e.Scan != "abc<&>" || scan.Time(e.At) != "2026-01-02T03:04:05.000Z" {
		t.Errorf("line: %+v", e)
	}
	if e = q.events[1].Decoded; e.ID != "ce1" || e.Op != scan.Export || !e.Timed() {
		t.Errorf("CloudEvent: %+v", e)
	}
	f.csv = true
	if _, _, err := publishTo(t, &table, f, strings.NewReader(csv), "-"); err != nil {
		t.Fatal(err)
	}
	e = table.events[0].Decoded
	if table.events[0].Site != "sud" || table.events[0].Device != "d2" || e.Op != scan.Lock || e.Ref != "R" || e.ATD == nil || !*e.ATD {
		t.Errorf("CSV: %+v", table.events[0])
	}
	if e = table.events[1].Decoded; table.events[1].Site != "nord" || e.Op != scan.Export || e.ATD != nil {
		t.Errorf("CSV defaults: %+v", table.events[1])
	}
}

// TestATableThatNamesSiteAndDeviceNeedsNoFlag: a row that does not is told alone, in a clear
// sentence; a table without such a column, and anything else, needs the flag.
func TestATableThatNamesSiteAndDeviceNeedsNoFlag(t *testing.T) {
	config := write(t, t.TempDir(), "decom.yaml", "dir: data\naccounts:\n  - {name: chu, sites: [nord, sud], client_login_id: A, user_id: robot, password: x, certificate: a.p12}\n")
	table := "scan,site,appareil\nabc,sud,d2\nabd,,d2\nabe,nord,\nabf,n.1,d2\n,,\nabg,nord,d1\n"
	file := write(t, t.TempDir(), "scans.csv", table)
	for _, tc := range []struct {
		lang    string
		stdin   string
		args    []string
		says    []string
		exit    int
		stored  string
		nothing bool
	}{
		{"en", "", []string{file}, []string{"line 3: not stored: the row names no site, and --site is not given", "line 4: not stored: the row names no device, and --device is not given",
			`line 5: not stored: site "n.1" must be 1 to 64`, "3 of 5 lines were not stored"}, exitFailure, "2 stored", false},
		{"fr", table, []string{"--csv"}, []string{"ligne 3 : non enregistrée : la ligne ne nomme pas de site, et --site n'est pas donné", "ligne 4 : non enregistrée : la ligne ne nomme pas d'appareil, et --device n'est pas donné"}, exitFailure, "2 enregistrées", false},
		{"en", "scan,site\nabc,sud\n", []string{"--csv"}, []string{"--device is missing, and the table has no column device"}, exitUsage, "", true},
		{"fr", "scan,device\nabc,d2\n", []string{"--csv"}, []string{"--site manque, et le tableau n'a pas de colonne site"}, exitUsage, "", true},
		{"en", "abc\n", []string{"--device", "d"}, []string{"--site is missing: it says where"}, exitUsage, "", true},
	} {
		r := inProcess(t, nil, tc.stdin, append([]string{"publish", "--config", config, "--lang", tc.lang}, tc.args...)...)
		for _, s := range tc.says {
			if !strings.Contains(r.stderr, s) {
				t.Errorf("%v does not say %q: %s", tc.args, s, r.stderr)
			}
		}
		if r.code != tc.exit || !strings.Contains(r.stdout, tc.stored) || tc.nothing != (r.stdout == "") {
			t.Errorf("%v: %+v", tc.args, r)
		}
	}
}

// TestABlankLineIsNoScan, nor is a row of a table without a value; the lines after it keep their numbers.
func TestABlankLineIsNoScan(t *testing.T) {
	quoted := string(doors.Encode(packText))
	for name, text := range map[string]string{
		"ndjson": "\n{\"scan\":" + quoted + "}\n \t\r\n\r\n{bad\n",
		"csv":    "scan,ref\n\"" + packText + "\",\n,\n , \nabc,x,y\"z\n",
	} {
		f := publishFlags{csv: name == "csv"}
		q := &fakeQueue{}
		out, errs, err := publishTo(t, q, f, strings.NewReader(text), "-")
		if err == nil || len(q.events) != 1 || q.events[0].Line != 2 || out != "1 stored, 0 there already, 1 not stored\n" || !strings.Contains(errs, "line 5: not stored") {
			t.Errorf("%s: %v, %d events, %s%s", name, err, len(q.events), out, errs)
		}
		args := []string{"publish", "--dry-run"}
		if f.csv {
			args = append(args, "--csv")
		}
		r := inProcess(t, nil, text, args...)
		if lines := strings.Split(strings.TrimSpace(r.stdout), "\n"); r.code != 0 || len(lines) != 2 || !strings.HasPrefix(lines[0], "2  ok") || !strings.HasPrefix(lines[1], "     5  ") {
			t.Errorf("%s, dry run: %+v", name, r)
		}
	}
}

func TestALineThatFailsDoesNotStopTheOthers(t *testing.T) {
	text := packText + "\n{bad\n" + packText + "\n" + packText + "\n"
	q := &fakeQueue{fail: map[int]error{1: errors.New("stream says no")}}
	out, errs, err := publishTo(t, q, publishFlags{}, strings.NewReader(text), "-")
	if err == nil || err.Error() != "2 of 4 lines were not stored" {
		t.Errorf("error %v", err)
	}
	if out != "2 stored, 0 there already, 2 not stored\n" || !strings.Contains(errs, "line 2: not stored: not JSON") || !strings.Contains(errs, "line 3: not stored: stream says no") {
		t.Errorf("stdout %q, stderr %q", out, errs)
	}
	q = &fakeQueue{fail: map[int]error{1: errors.New("stream says no")}}
	out, _, _ = publishTo(t, q, publishFlags{site: "s", device: "d", json: true}, strings.NewReader(text), "-")
	var got []sentLine
	for line := range strings.Lines(out) {
		var l sentLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, l)
	}
	if len(got) != 4 || !got[0].OK || got[1].OK || got[2].OK || got[2].Error != "stream says no" || !got[3].OK || got[3].Seq != 3 {
		t.Errorf("%+v", got)
	}
}

func TestAPipeIsNotWaitedForToFillABatch(t *testing.T) {
	r, w := io.Pipe()
	stored := make(chan int, 10)
	send := func(_ context.Context, events []files.Event) ([]ack, error) {
		acks := make([]ack, len(events))
		for i := range acks {
			acks[i].seq = 1
		}
		stored <- len(events)
		return acks, nil
	}
	var out syncBuffer
	p := publisher{app: &app{stdout: &out, stderr: &out}, send: send}
	done := make(chan error)
	d := &files.Defaults{Site: "s", Device: "d", Clock: files.Clock{Now: time.Now}}
	go func() { done <- p.run(context.Background(), files.NewLines(r), d) }()
	for range 3 {
		if _, err := io.WriteString(w, packText+"\n"); err != nil {
			t.Fatal(err)
		}
		if n := <-stored; n != 1 { // hangs for ever if the line waits for more
			t.Errorf("%d lines at once", n)
		}
	}
	w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestASignalEndsTheWaitForAPipeAndStoresWhatWasRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	var out syncBuffer
	a := &app{stdin: r, stdout: &out, stderr: &out, environ: []string{"DECOM_DIR=" + t.TempDir()}}
	done := make(chan int)
	go func() { done <- execute(ctx, a, []string{"publish", "--site", "s", "--device", "d", "--json"}) }()
	if _, err := io.WriteString(w, packText+"\n"+packText[:10]); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(out.String(), `"line":1,"ok":true`) {
		select {
		case code := <-done:
			t.Fatalf("ended with %d: %s", code, &out)
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel(stopped{os.Interrupt})
	if code := <-done; code != 0 {
		t.Errorf("exit code %d: %s", code, &out)
	}
	if strings.Contains(out.String(), `"line":2`) {
		t.Errorf("half a line was published: %s", &out)
	}
}

func TestASignalInAFileLeavesItsRestAndSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	q := &fakeQueue{}
	send := func(ctx context.Context, events []files.Event) ([]ack, error) {
		cancel(stopped{os.Interrupt}) // while the first batch is out
		if ctx.Err() != nil {
			t.Error("the batch in hand is given up")
		}
		return q.send(ctx, events)
	}
	var out syncBuffer
	p := publisher{app: &app{stdout: &out, stderr: &out, lang: english}, send: send}
	d := &files.Defaults{Site: "s", Device: "d", Clock: files.Clock{Now: time.Now}}
	err := p.run(ctx, files.NewLines(strings.NewReader(strings.Repeat(packText+"\n", 3*sendBatch))), d)
	if err == nil || !strings.Contains(err.Error(), "rest of the input was not read") || len(q.events) != sendBatch || !strings.Contains(out.String(), fmt.Sprintf("%d stored", sendBatch)) {
		t.Errorf("%v; %d events; %s", err, len(q.events), &out)
	}
}

func TestPublishStoresInTheQueueOnlyAfterItsAck(t *testing.T) {
	dir := t.TempDir()
	config := write(t, dir, "decom.yaml", minimal) // embedded NATS under dir
	scans := write(t, dir, "scans.txt", strings.Repeat(packText+"\n", 600))
	r := inProcess(t, nil, "", "publish", scans, "--site", "nord", "--device", "d", "--config", config, "--json")
	if n := strings.Count(r.stdout, `"ok":true`); r.code != 0 || n != 600 {
		t.Fatalf("code %d, %d lines stored, want 600: %s", r.code, n, r.stderr)
	}
	if r := inProcess(t, nil, "", "setup", "--config", config, "--dry-run"); r.code != 0 || !strings.Contains(r.stdout, "Nothing to change") {
		t.Errorf("setup after publish: %+v", r)
	}
	a := &app{stderr: io.Discard}
	a.flags.config = config
	c, err := a.loadConfig(needQueue)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.connectQueue(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The folder is taken: a second process says so.
	if r := inProcess(t, nil, "", "publish", scans, "--site", "nord", "--device", "d", "--config", config); r.code == 0 || !strings.Contains(r.stderr, "another process uses this directory") {
		t.Errorf("second process: %+v", r)
	}
	got, err := conn.Scans("chu").Fetch(t.Context(), 600, time.Second, 0)
	if err != nil || len(got) == 0 {
		t.Fatal(len(got), err)
	}
	e, err := scan.Decode(got[0].Data(), got[0].Meta())
	if err != nil || e.Scan != packText || e.Site != "nord" || e.MsgID != e.ID || !e.Timed() {
		t.Errorf("%+v %v", e, err)
	}
}

func TestSetupSaysWhatItChanged(t *testing.T) {
	config := write(t, t.TempDir(), "decom.yaml", minimal)
	var r setupReport
	for i, want := range []struct{ args, says string }{
		{"--dry-run", "nothing was changed"}, {"--json", "DECOM_SCANS/decom-chu"}, {"--lang=fr", "Rien à changer."},
	} {
		got := inProcess(t, nil, "", "setup", "--config", config, want.args)
		if got.code != 0 || !strings.Contains(got.stdout, want.says) {
			t.Errorf("%s: %+v", want.args, got)
		}
		if i == 1 && (json.Unmarshal([]byte(got.stdout), &r) != nil || len(r.Changes) != 5 || r.DryRun) {
			t.Errorf("%s", got.stdout)
		}
	}
}

func TestPublishFlagsAreChecked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "none")
	for _, args := range [][]string{
		{"--site", "a.b", "--device", "d"}, {"--site", "s", "--device", ""}, {"--site", "s", "--device", "d", "--op", "eat"},
		{"--site", "s", "--device", "d", "--entry", "typed"}, {"--site", "s", "--device", "d", "--at", "yesterday"},
		{"--site", "s", "--device", "d", "--at", "2999-01-01T00:00:00Z"}, {"a", "b"},
	} {
		if r := inProcess(t, nil, "", append([]string{"publish", file}, args...)...); r.code != exitUsage {
			t.Errorf("%v: %+v, want exit code 2", args, r)
		}
	}
}
