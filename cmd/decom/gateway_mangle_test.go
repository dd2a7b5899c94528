package main

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"decom/queue/doors"
	"decom/queue/doors/files"
	"decom/worker"
	"decom/worker/scan"
)

// hostLayouts are what hosts make of a US scanner's characters, as domain.md section 6 has
// them; worker/gs1 has tables of its own.
var hostLayouts = map[string]*strings.Replacer{
	"us":        strings.NewReplacer(),
	"french":    typed(`1234567890!"%&'()*,-./:;<>?_aqwzmAQWZM]`, `&é"'(-è_çà1%57ù908;):!Mm./§°qazw,QAZW?$`),
	"belgian":   typed(`1234567890!"%&'()*,-./:;<>?_aqwzmAQWZM]+=`, `&é"'(§è!çà1%57ù908;):=Mm./+°qazw,QAZW?$_-`),
	"german":    typed(`yzYZ]-/_?()=&*"';:<>+`, "zyZY+ß-?_)=´/(Ää"+`öÖ;:`+"`"),
	"caps lock": typed("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
	"swiss":     typed("yzYZ]", `zyZY¨`),
}

func typed(from, to string) *strings.Replacer {
	var pairs []string
	target := []rune(to)
	for i, r := range []rune(from) {
		if i < len(target) {
			pairs = append(pairs, string(r), string(target[i]))
		}
	}
	return strings.NewReplacer(pairs...)
}

// cutSeparators are what becomes of the separator between a scanner and a door.
var cutSeparators = []string{"\x1d", "", " ", `\x1d`, `\x1D`, "{GS}", "^", "\x1d\x1d", "\t"}

// TestNoDoorTurnsMangledTextIntoAWrongPack is the layout study's rule at each door's own
// decoder: whatever a layout, Caps Lock, a lost separator or a lost identifier made of a
// code, what the line would send is what was printed.
func TestNoDoorTurnsMangledTextIntoAWrongPack(t *testing.T) {
	const letters = `0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!"%&'()*+,-./:;<=>?_`
	known := worker.Devices{
		{Name: "wants-id", Symbology: true}, {Name: "written", Symbology: true, Separators: "{GS}"}, {Name: "french", Symbology: true, Keyboard: "french"}, {},
	}
	doorsOf := map[string]func(t *testing.T, device, text string) (scan.Fields, bool){
		"HTTP, a line": func(t *testing.T, device, text string) (scan.Fields, bool) {
			d, _, fault := doors.FromLine([]byte(text))
			return lineFieldsOf(known, device, d, fault)
		},
		"HTTP and MQTT, JSON": func(t *testing.T, device, text string) (scan.Fields, bool) {
			d, fault := doors.FromJSON([]byte(`{"scan":` + string(doors.Text(text)) + `}`))
			return lineFieldsOf(known, device, d, fault)
		},
		"files, a line": func(t *testing.T, device, text string) (scan.Fields, bool) {
			return fieldsOfFile(t, known, device, files.NewLines(strings.NewReader(text+"\n")))
		},
		"files, a table": func(t *testing.T, device, text string) (scan.Fields, bool) {
			in, err := files.NewCSV(strings.NewReader("\""+strings.ReplaceAll(text, `"`, `""`)+"\"\n"), files.CSVOptions{Separator: ';', Encoding: "utf-8", Columns: []string{"scan"}})
			if err != nil {
				return scan.Fields{}, false
			}
			return fieldsOfFile(t, known, device, in)
		},
		"WWKS 2, what attributes are compared with": func(_ *testing.T, _, text string) (scan.Fields, bool) { return readFields(text) },
	}
	rnd := rand.New(rand.NewPCG(6, 9))
	word := func() string {
		b := make([]byte, 1+rnd.IntN(14))
		for i := range b {
			b[i] = letters[rnd.IntN(len(letters))]
		}
		return string(b)
	}
	accepted, wrong := map[string]int{}, 0
	for range 3000 {
		printed := scan.Fields{Scheme: "GTIN", Code: "03400930000007", Serial: word(), Batch: word(), Expiry: "281100"}
		elements := []string{"21" + printed.Serial + "\x1d", "17281100", "10" + printed.Batch + "\x1d"}
		rnd.Shuffle(3, func(i, j int) { elements[i], elements[j] = elements[j], elements[i] })
		sent := "]d20103400930000007" + strings.TrimSuffix(strings.Join(elements, ""), "\x1d")
		device := []string{"wants-id", "written", "french", "other"}[rnd.IntN(4)]
		layout := "french"
		if device != "french" { // that profile is a statement about the host
			layout = []string{"us", "french", "belgian", "german", "caps lock", "swiss"}[rnd.IntN(6)]
		}
		separator := cutSeparators[rnd.IntN(len(cutSeparators))]
		text := hostLayouts[layout].Replace(strings.ReplaceAll(sent, "\x1d", separator))
		if strings.ContainsAny(separator, `\{^`) && strings.Contains(printed.Serial+printed.Batch, "{") {
			continue
		}
		for door, read := range doorsOf {
			got, ok := read(t, device, text)
			if !ok {
				continue
			}
			if accepted[door+", "+layout]++; got != printed {
				if wrong++; wrong < 6 {
					t.Errorf("%s, %s on %s: %q is taken for %+v, printed was %+v", door, device, layout, text, got, printed)
				}
			}
		}
	}
	for door := range doorsOf { // a property that nothing reaches proves nothing
		if accepted[door+", us"] == 0 || accepted[door+", french"] == 0 {
			t.Errorf("%s: nothing was accepted: %v", door, accepted)
		}
	}
}

// fieldsOf is what the line makes of a draft.
func lineFieldsOf(known worker.Devices, device string, d doors.Draft, fault *scan.Malformed) (scan.Fields, bool) {
	if fault != nil {
		return scan.Fields{}, false
	}
	d.DefaultID("x")
	_, e, err := d.Decode("nord", device)
	if err != nil {
		return scan.Fields{}, false
	}
	return fieldsOfEvent(known, e)
}

func fieldsOfEvent(known worker.Devices, e scan.Event) (scan.Fields, bool) {
	r, rejection := known.Read(e, time.Now())
	if rejection != nil {
		return scan.Fields{}, false
	}
	p := r.Pack
	return scan.Fields{Scheme: string(p.Scheme()), Code: p.Code(), Serial: p.Serial(), Batch: p.Batch(), Expiry: p.Expiry()}, true
}

// fieldsOfFile reads the first row as the watcher of a folder does.
func fieldsOfFile(t *testing.T, known worker.Devices, device string, in files.Input) (scan.Fields, bool) {
	t.Helper()
	entry, err := in.Next()
	if err != nil {
		if err != io.EOF {
			t.Fatal(err)
		}
		return scan.Fields{}, false
	}
	clock, err := files.NewClock(time.Now(), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := files.Defaults{Site: "nord", Device: device, Clock: clock, Import: readImport}
	ev, err := d.Complete(entry)
	if err != nil {
		return scan.Fields{}, false
	}
	return fieldsOfEvent(known, ev.Decoded)
}
