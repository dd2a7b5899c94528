package consolidated

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"decom/worker/scan"
)

func read(t *testing.T, fill func(io.Writer)) *List {
	t.Helper()
	var b bytes.Buffer
	fill(&b)
	l, id, err := Read(&b, allow, "")
	if err != nil || len(id) != 24 {
		t.Fatalf("%s %v", id, err)
	}
	return l
}

func text(s string) func(io.Writer) { return func(w io.Writer) { _, _ = io.WriteString(w, s) } }

func TestEveryFormatGivesTheSamePacks(t *testing.T) {
	d := makeDelivery(120, true)
	for _, tc := range []struct {
		format string
		fill   func(io.Writer)
	}{{"epcis-xml", d.xml}, {"epcis-json", d.json}, {"csv", d.csv}} {
		l := read(t, tc.fill)
		want := len(d.packs)
		if tc.format == "csv" {
			want -= 3 // damaged
		}
		if l.Format != tc.format || len(l.Rows) != want || l.Declared() != len(d.packs) {
			t.Fatalf("%s: %s, %d rows, %d declared", tc.format, l.Format, len(l.Rows), l.Declared())
		}
		for i, r := range l.Rows {
			p := d.packs[i]
			full, _ := fullDate(p.date)
			if r.Code != p.code || r.Serial != p.serial || r.Batch != p.batch || r.Expiry != full || !r.Full || !r.Shipped {
				t.Fatalf("%s row %d: %+v, want %+v", tc.format, i, r, p)
			}
			if box := l.Containers[r.Parent]; box.ID != d.sscc[i/50] {
				t.Fatalf("%s row %d in %s", tc.format, i, box.ID)
			} else if tc.format != "csv" && l.Containers[box.Parent].ID != d.pallet {
				t.Fatalf("%s: case on %d", tc.format, box.Parent)
			}
			if len(r.Deliv) != 1 || l.Deliveries[r.Deliv[0]] != d.note {
				t.Fatalf("%s row %d: deliveries %v of %v", tc.format, i, r.Deliv, l.Deliveries)
			}
		}
	}
}

const csvHead = "gtin,serial,batch,expiry,sscc\n"

// TestDamagedRowsAreRefusedWithTheirReason: one row each, between two good ones that stay.
func TestDamagedRowsAreRefusedWithTheirReason(t *testing.T) {
	good := "03400930000007,%s,LOT1,281100,\n"
	for _, tc := range []struct {
		name, row string
		reason    Reason
		field     string
	}{
		{"code without its zero", "3400930000007,A1,L,281100,", ZerosLost, "code"},
		{"code as a number", `"3,40093E+12",A1,L,281100,`, ExcelNumber, "code"},
		{"code with decimals", "3400930000007.0,A1,L,281100,", ExcelNumber, "code"},
		{"serial as a number", "03400930000007,1.23457E+15,L,281100,", ExcelNumber, "serial"},
		{"batch as a number", "03400930000007,A1,5.00E+10,281100,", ExcelNumber, "batch"},
		{"batch as a date", "03400930000007,A1,nov-28,281100,", DateFormat, "batch"},
		{"batch as a full date", "03400930000007,A1,01/03/2026,281100,", DateFormat, "batch"},
		{"expiry with slashes", "03400930000007,A1,L,30/11/2028,", DateFormat, "expiry"},
		{"expiry of eight digits", "03400930000007,A1,L,20281130,", DateFormat, "expiry"},
		{"expiry without its zero", "03400930000007,A1,L,90100,", ZerosLost, "expiry"},
		{"expiry with a clock", "03400930000007,A1,L,2028/11/30 00:00,", DateFormat, "expiry"},
		{"label without its zeros", "03400930000007,A1,L,281100,34009300000000014", ZerosLost, "sscc"},
		{"label as a number", "03400930000007,A1,L,281100,3.4E+17", ExcelNumber, "sscc"},
		{"label with a wrong digit", "03400930000007,A1,L,281100,034009300000000015", BadSSCC, "sscc"},
		{"short row", "03400930000007,A1", "malformed", "batch"},
		{"quote that never ends", `03400930000007,"A1,L,281100,`, "malformed", ""},
		{"space in the serial", "03400930000007,A 1,L,281100,", "malformed", "serial"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := read(t, text(csvHead+fmt.Sprintf(good, "G1")+tc.row+"\n"+fmt.Sprintf(good, "G2")))
			if len(l.Rows) != 2 || len(l.Refused) != 1 {
				t.Fatalf("%d rows, refused %+v", len(l.Rows), l.Refused)
			}
			if r := l.Refused[0]; r.N != 3 || r.Reason != tc.reason || r.Field != tc.field {
				t.Errorf("%+v, want %s in %s", r, tc.reason, tc.field)
			}
			if m := Text(l.Refused[0].Reason); m.FR == "" || m.EN == "" || m.FR == m.EN {
				t.Errorf("no sentence for %s: %+v", tc.reason, m)
			}
		})
	}
}

func TestBatchesThatLookNumericAreKept(t *testing.T) {
	for _, batch := range []string{"MAR-26", "DEC-1234", "5E10", "12/05", "2028", "1.5"} {
		if l := read(t, text(csvHead+"03400930000007,A1,"+batch+",281100,\n")); len(l.Rows) != 1 || l.Rows[0].Batch != batch {
			t.Errorf("%s: %+v %+v", batch, l.Rows, l.Refused)
		}
	}
}

func TestSerialsThatLostTheirZerosShowAgainstTheirBatch(t *testing.T) {
	var b strings.Builder
	b.WriteString(csvHead)
	for i := range 30 {
		fmt.Fprintf(&b, "03400930000007,%d,LOT1,281100,\n", 1000000000+i)
		fmt.Fprintf(&b, "03400930000007,%d,LOT2,281100,\n", 1+i*i*i) // lengths of all kinds prove nothing
	}
	b.WriteString("03400930000007,12345678,LOT1,281100,\n")
	l := read(t, text(b.String()))
	if len(l.Refused) != 1 || l.Refused[0].Reason != ZerosLost || l.Refused[0].N != 62 || len(l.Rows) != 60 {
		t.Errorf("%d rows, %+v", len(l.Rows), l.Refused)
	}
}

func TestAPackTwiceIsOnePackAndAContradictionIsNone(t *testing.T) {
	l := read(t, text(csvHead+"03400930000007,A,L,281100,\n03400930000007,A,L,281100,\n03400930000007,B,L,281100,\n03400930000007,B,M,281100,\n03400930000007,B,L,281100,\n"))
	got := fmt.Sprint(l.Refused)
	if len(l.Rows) != 1 || l.Rows[0].Serial != "A" || l.Declared() != 5 || strings.Count(got, "conflict") != 3 || strings.Count(got, "twice") != 1 {
		t.Errorf("%+v, refused %s", l.Rows, got)
	}
}

func xmlOf(events string) string {
	return `<e:EPCISDocument xmlns:e="urn:epcglobal:epcis:xsd:1"><EPCISBody><EventList>` + events + `</EventList></EPCISBody></e:EPCISDocument>`
}

func commission(serials ...string) string {
	var s strings.Builder
	s.WriteString("<ObjectEvent><epcList>")
	for _, n := range serials {
		s.WriteString("<epc>urn:epc:id:sgtin:3400930.000000." + n + "</epc>")
	}
	return s.String() + `</epcList><action>ADD</action><extension><ilmd><lotNumber>L1</lotNumber><itemExpirationDate>2028-11-30</itemExpirationDate></ilmd></extension></ObjectEvent>`
}

func aggregate(action, parent string, children ...string) string {
	var s strings.Builder
	s.WriteString("<AggregationEvent><parentID>" + parent + "</parentID><childEPCs>")
	for _, c := range children {
		s.WriteString("<epc>" + c + "</epc>")
	}
	return s.String() + "</childEPCs><action>" + action + "</action></AggregationEvent>"
}

func item3400(n string) string { return "urn:epc:id:sgtin:3400930.000000." + n }

func TestWhatAnEPCISFileSaysBesideThePacksCounts(t *testing.T) {
	one, two := ssccURN(sscc(1)), ssccURN(sscc(2))
	t.Run("packs of a container that nothing else tells of are refused", func(t *testing.T) {
		l := read(t, text(xmlOf(commission("A")+aggregate("ADD", one, item3400("A"), item3400("B")))))
		if len(l.Rows) != 1 || len(l.Refused) != 1 || l.Refused[0].Reason != NoData {
			t.Errorf("%+v %+v", l.Rows, l.Refused)
		}
	})
	t.Run("a container that something was taken out of is opened", func(t *testing.T) {
		l := read(t, text(xmlOf(commission("A", "B", "C")+aggregate("ADD", one, item3400("A"), item3400("B"), item3400("C"))+
			aggregate("DELETE", one, item3400("B"))+aggregate("ADD", two, item3400("B")))))
		if !l.Containers[0].Opened || l.Containers[1].Opened || l.Rows[0].Parent != 0 || l.Rows[1].Parent != 1 {
			t.Errorf("%+v %+v", l.Containers, l.Rows)
		}
	})
	t.Run("a decommissioned pack is refused", func(t *testing.T) {
		l := read(t, text(xmlOf(commission("A", "B")+"<ObjectEvent><epcList><epc>"+item3400("B")+"</epc></epcList><action>DELETE</action></ObjectEvent>")))
		if len(l.Rows) != 1 || len(l.Refused) != 1 || l.Refused[0].Reason != Deleted {
			t.Errorf("%+v %+v", l.Rows, l.Refused)
		}
	})
	t.Run("what was not shipped is told", func(t *testing.T) {
		l := read(t, text(xmlOf(commission("A", "B")+aggregate("ADD", one, item3400("A"))+
			"<ObjectEvent><epcList><epc>"+one+"</epc></epcList><action>OBSERVE</action><bizStep>urn:epcglobal:cbv:bizstep:shipping</bizStep></ObjectEvent>")))
		if !l.Rows[0].Shipped || l.Rows[1].Shipped {
			t.Errorf("%+v", l.Rows)
		}
	})
	t.Run("a case with packs in it is a container, one without is no pack", func(t *testing.T) {
		box := "urn:epc:id:sgtin:3400930.100000.K"
		l := read(t, text(xmlOf(commission("A")+strings.ReplaceAll(commission("K"), ".000000.", ".100000.")+aggregate("ADD", box, item3400("A")))))
		if len(l.Rows) != 1 || len(l.Containers) != 1 || l.Rows[0].Parent != 0 || !strings.HasPrefix(l.Containers[0].ID, "0113400930") {
			t.Errorf("%+v %+v %+v", l.Rows, l.Containers, l.Refused)
		}
	})
	t.Run("serials are unescaped once and kept byte for byte", func(t *testing.T) {
		l := read(t, text(xmlOf(commission("a%2Fb%2525", "0001"))))
		if l.Rows[0].Serial != "a/b%25" || l.Rows[1].Serial != "0001" || l.Rows[0].Code != "03400930000007" {
			t.Errorf("%+v", l.Rows)
		}
	})
	t.Run("a batch of a link is not taken for a label", func(t *testing.T) {
		l := read(t, text(xmlOf(strings.Replace(commission("A"), item3400("A"), "https://id.example.org/x/01/03400930000007/10/00/21/A", 1))))
		if len(l.Rows) != 1 || l.Rows[0].Serial != "A" {
			t.Errorf("%+v %+v", l.Rows, l.Refused)
		}
	})
	t.Run("unreadable identifiers are refused", func(t *testing.T) {
		l := read(t, text(xmlOf(commission("A", "%zz")+strings.ReplaceAll(commission("B"), "3400930.000000", "34009.0000"))))
		if len(l.Rows) != 1 || len(l.Refused) != 2 || l.Refused[0].Reason != BadURI {
			t.Errorf("%+v %+v", l.Rows, l.Refused)
		}
	})
}

// TestAFileThatCannotBeUsedSaysWhyInBothLanguages: nothing of it is taken.
func TestAFileThatCannotBeUsedSaysWhyInBothLanguages(t *testing.T) {
	loop := commission("A") + aggregate("ADD", ssccURN(sscc(1)), ssccURN(sscc(2))) + aggregate("ADD", ssccURN(sscc(2)), ssccURN(sscc(1)))
	for name, content := range map[string]string{
		"empty":            "",
		"no packs":         csvHead,
		"missing column":   "gtin,serial,batch\n1,2,3\n",
		"workbook":         "PK\x03\x04rest\x00",
		"UTF-16":           "\xff\xfeg\x00t\x00",
		"cut XML":          xmlOf(commission("A"))[:200],
		"other XML":        "<a/>",
		"nested":           xmlOf(strings.Repeat("<a>", 70) + strings.Repeat("</a>", 70)),
		"two roots":        xmlOf(commission("A")) + xmlOf(commission("B")),
		"DTD":              `<!DOCTYPE x [<!ENTITY a "b">]>` + xmlOf(commission("A")),
		"entity":           xmlOf(strings.Replace(commission("A"), "L1", "&a;", 1)),
		"circle":           xmlOf(loop),
		"withdrawn event":  xmlOf(strings.Replace(commission("A"), "<epcList>", "<baseExtension><errorDeclaration/></baseExtension><epcList>", 1)),
		"cut JSON":         `{"type":"EPCISDocument","epcisBody":{"eventList":[{"type":"ObjectEvent"`,
		"JSON of another":  `{"type":"Order"}`,
		"JSON, no events":  `{"type":"EPCISDocument","epcisBody":{}}`,
		"JSON, two":        `{"type":"EPCISDocument","epcisBody":{"eventList":[]}}{}`,
		"JSON, event list": `{"type":"EPCISDocument","epcisBody":{"eventList":{}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Read(strings.NewReader(content), allow, "")
			var p *Problem
			if !errors.As(err, &p) || p.Text.FR == "" || p.Text.EN == "" || p.Text.FR == p.Text.EN {
				t.Errorf("%v (%T)", err, err)
			}
		})
	}
}

func TestLabelsAreReadAsScannedOrTyped(t *testing.T) {
	n := sscc(7)
	for _, s := range []string{n, "]C100" + n, "00" + n, "(00)" + n, "]d2\x1d00" + n, "]C100" + n + "10LOT", ssccURN(n), "https://id.gs1.org/00/" + n, " " + n + "\n"} {
		if got, ok := ReadRef(s); got != n || !ok {
			t.Errorf("%q: %s %v", s, got, ok)
		}
	}
	for _, s := range []string{"BL-2026-118", n[:17] + "0" + "1", "0012345"} {
		if got, ok := ReadRef(s); got != s || ok {
			t.Errorf("%q: %s %v", s, got, ok)
		}
	}
}

func TestAFullDateMatchesTheDayOrItsMonth(t *testing.T) {
	for _, tc := range []struct {
		full, printed string
		want          bool
	}{
		{"281130", "281130", true}, {"281130", "281100", true}, {"281101", "281100", true}, {"280229", "280200", true},
		{"281115", "281100", false}, {"281130", "281200", false}, {"281130", "281129", false}, {"281130", "291100", false},
	} {
		if got := matches(tc.full, tc.printed); got != tc.want {
			t.Errorf("%s, %s: %v", tc.full, tc.printed, got)
		}
	}
}

// FuzzRead: whatever comes, nothing panics, every row is one that the check takes, no pack
// is there twice, and a refusal of the whole has both languages.
func FuzzRead(f *testing.F) {
	d := makeDelivery(4, true) // small, or minimising takes all the time
	for _, fill := range []func(io.Writer){d.xml, d.json, d.csv, text(csvHead + "03400930000007,A,L,281100,\n"), text(xmlOf(commission("A")))} {
		var b bytes.Buffer
		fill(&b)
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, _, err := Read(bytes.NewReader(data), allow, "")
		if err != nil {
			if p, ok := errors.AsType[*Problem](err); !ok || p.Text.FR == "" {
				t.Fatalf("%v (%T)", err, err)
			}
			return
		}
		seen := map[packKey]bool{}
		for _, r := range l.Rows {
			if reason, field := allow(scan.Fields{Scheme: r.Scheme, Code: r.Code, Serial: r.Serial, Batch: r.Batch, Expiry: r.Expiry}); reason != "" || seen[r.key()] {
				t.Fatalf("%+v: %s in %s, twice %v", r, reason, field, seen[r.key()])
			}
			seen[r.key()] = true
			if int(r.Parent) >= len(l.Containers) {
				t.Fatalf("%+v: no such container", r)
			}
		}
		rows, boxes, _, err := encodeParts(l)
		if err != nil || len(rows) == 0 && l.Declared() > 0 {
			t.Fatal(len(rows), len(boxes), err)
		}
	})
}
