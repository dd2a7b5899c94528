package consolidated

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"decom/worker/scan"
)

var (
	writeTo    = flag.String("write-to", "", "folder for generated files (bench/results/consolidated.md)")
	writePacks = flag.Int("write-packs", 60_000, "packs a generated file")
)

// delivery is a made-up delivery: packs in cases of 50, cases on a pallet, one note.
type delivery struct {
	packs  []made
	boxes  [][]int // packs by case
	sscc   []string
	pallet string
	note   string
	full   bool // dates are written in full
}

type made struct{ code, serial, batch, expiry, date string }

func makeDelivery(n int, full bool) delivery {
	d := delivery{note: "BL-2026-118", pallet: sscc(9_999_999), full: full}
	for i := range n {
		batch := i / 2000
		month := 1 + batch%12
		end := time.Date(2029, time.Month(month+1), 0, 0, 0, 0, 0, time.UTC)
		d.packs = append(d.packs, made{
			code:   gtin(3400930000000 + batch%7),
			serial: fmt.Sprintf("S%%%07d/AB", i), batch: fmt.Sprintf("LOT%03d", batch),
			expiry: fmt.Sprintf("29%02d00", month), date: end.Format(time.DateOnly),
		})
		if i%50 == 0 {
			d.boxes = append(d.boxes, nil)
			d.sscc = append(d.sscc, sscc(len(d.boxes)))
		}
		d.boxes[len(d.boxes)-1] = append(d.boxes[len(d.boxes)-1], i)
	}
	return d
}

func sscc(n int) string {
	s := fmt.Sprintf("03400930%09d", n)
	return s + checkDigit(s)
}

func gtin(cip12 int) string {
	s := fmt.Sprintf("0%012d", cip12/10*10+cip12%10)
	return s[:13] + checkDigit(s[:13])
}

func ssccURN(s string) string { return "urn:epc:id:sscc:3400930." + s[:1] + s[8:17] }

func sgtinURN(code, serial string) string {
	return "urn:epc:id:sgtin:" + code[1:8] + "." + code[:1] + code[8:13] + "." + strings.NewReplacer("%", "%25", "/", "%2F").Replace(serial)
}

// link writes a GS1 Digital Link URI.
func link(code, serial string) string {
	return "https://id.example.org/01/" + code + "/21/" + strings.NewReplacer("%", "%25", "/", "%2F").Replace(serial)
}

func (d delivery) xml(w io.Writer) {
	b := bufio.NewWriter(w)
	defer b.Flush()
	fmt.Fprint(b, `<?xml version="1.0" encoding="UTF-8"?>
<epcis:EPCISDocument xmlns:epcis="urn:epcglobal:epcis:xsd:1" xmlns:cbvmda="urn:epcglobal:cbv:mda" xmlns:sbdh="http://www.unece.org/cefact/namespaces/StandardBusinessDocumentHeader" schemaVersion="1.2" creationDate="2026-11-24T08:00:00Z">
<EPCISHeader><sbdh:StandardBusinessDocumentHeader><sbdh:HeaderVersion>1.0</sbdh:HeaderVersion><sbdh:Sender><sbdh:Identifier Authority="GS1">3012345000017</sbdh:Identifier></sbdh:Sender></sbdh:StandardBusinessDocumentHeader></EPCISHeader>
<EPCISBody><EventList>
`)
	for at := 0; at < len(d.packs); at += 2000 {
		part := d.packs[at:min(at+2000, len(d.packs))]
		fmt.Fprint(b, "<ObjectEvent><eventTime>2026-11-23T10:00:00Z</eventTime><eventTimeZoneOffset>+01:00</eventTimeZoneOffset><epcList>\n")
		for _, p := range part {
			fmt.Fprintf(b, "<epc>%s</epc>\n", sgtinURN(p.code, p.serial))
		}
		fmt.Fprintf(b, "</epcList><action>ADD</action><bizStep>urn:epcglobal:cbv:bizstep:commissioning</bizStep><extension><ilmd><cbvmda:lotNumber>%s</cbvmda:lotNumber><cbvmda:itemExpirationDate>%s</cbvmda:itemExpirationDate></ilmd></extension></ObjectEvent>\n", part[0].batch, part[0].date)
	}
	for i, box := range d.boxes {
		fmt.Fprintf(b, "<AggregationEvent><eventTime>2026-11-23T11:00:00Z</eventTime><parentID>%s</parentID><childEPCs>\n", ssccURN(d.sscc[i]))
		for _, p := range box {
			fmt.Fprintf(b, "<epc>%s</epc>\n", sgtinURN(d.packs[p].code, d.packs[p].serial))
		}
		fmt.Fprint(b, "</childEPCs><action>ADD</action><bizStep>urn:epcglobal:cbv:bizstep:packing</bizStep></AggregationEvent>\n")
	}
	fmt.Fprintf(b, "<AggregationEvent><parentID>%s</parentID><childEPCs>\n", ssccURN(d.pallet))
	for _, s := range d.sscc {
		fmt.Fprintf(b, "<epc>%s</epc>\n", ssccURN(s))
	}
	fmt.Fprintf(b, "</childEPCs><action>ADD</action><bizStep>urn:epcglobal:cbv:bizstep:packing</bizStep></AggregationEvent>\n<ObjectEvent><epcList><epc>%s</epc></epcList><action>OBSERVE</action><bizStep>urn:epcglobal:cbv:bizstep:shipping</bizStep><bizTransactionList><bizTransaction type=\"urn:epcglobal:cbv:btt:desadv\">urn:epcglobal:cbv:bt:3012345000017:%s</bizTransaction></bizTransactionList></ObjectEvent>\n", ssccURN(d.pallet), d.note)
	fmt.Fprint(b, "</EventList></EPCISBody></epcis:EPCISDocument>\n")
}

func (d delivery) json(w io.Writer) {
	type object = map[string]any
	var events []object
	for i, p := range d.packs {
		id := sgtinURN(p.code, p.serial)
		if i%2 == 0 { // both identifier syntaxes in one file
			id = link(p.code, p.serial)
		}
		events = append(events, object{
			"type": "ObjectEvent", "action": "ADD", "bizStep": "commissioning", "epcList": []string{id},
			"ilmd": object{"cbvmda:lotNumber": p.batch, "cbvmda:itemExpirationDate": p.date},
		})
	}
	for i, box := range d.boxes {
		var children []string
		for _, p := range box {
			children = append(children, sgtinURN(d.packs[p].code, d.packs[p].serial))
		}
		events = append(events, object{"type": "AggregationEvent", "action": "ADD", "bizStep": "packing", "parentID": "https://id.gs1.org/00/" + d.sscc[i], "childEPCs": children})
	}
	var cases []string
	for _, s := range d.sscc {
		cases = append(cases, ssccURN(s))
	}
	events = append(events, object{"type": "AggregationEvent", "action": "ADD", "parentID": ssccURN(d.pallet), "childEPCs": cases},
		object{"type": "ObjectEvent", "action": "OBSERVE", "bizStep": "https://ref.gs1.org/cbv/BizStep-shipping", "epcList": []string{ssccURN(d.pallet)}, "bizTransactionList": []object{{"type": "desadv", "bizTransaction": d.note}}})
	_ = json.NewEncoder(w).Encode(object{"@context": []string{"https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"}, "type": "EPCISDocument", "schemaVersion": "2.0", "sender": "urn:epc:id:sgln:3012345.00001.0", "epcisBody": object{"eventList": events}})
}

// csv writes the delivery with damaged rows at the end: a code without its zero, a serial
// as a number, a date rewritten.
func (d delivery) csv(w io.Writer) {
	b := bufio.NewWriter(w)
	defer b.Flush()
	fmt.Fprint(b, "\ufeffGTIN;Série;Lot;Péremption;SSCC;BL\r\n")
	for i, p := range d.packs {
		expiry := p.expiry
		if d.full {
			expiry = p.date
		}
		code, serial := p.code, p.serial
		switch len(d.packs) - i {
		case 3:
			code = strings.TrimLeft(code, "0")
		case 2:
			serial = "3,40093E+12"
		case 1:
			expiry = "30/11/2029"
		}
		fmt.Fprintf(b, "%s;%s;%s;%s;%s;%s\r\n", code, serial, p.batch, expiry, d.sscc[i/50], d.note)
	}
}

// scans writes the barcodes of packs as JSON strings.
func scans(w io.Writer, packs []made) {
	for _, p := range packs {
		text, _ := json.Marshal("]d201" + p.code + "21" + p.serial + "\x1d17" + p.expiry + "10" + p.batch)
		fmt.Fprintf(w, "%s\n", text)
	}
}

// allow is a check that takes what scan takes; the worker's own is stricter and tested
// in cmd.
func allow(f scan.Fields) (scan.Reason, string) {
	if _, err := scan.NewPack(scan.Scheme(f.Scheme), f.Code, f.Serial, f.Batch, f.Expiry); err != nil {
		return scan.MalformedScan, strings.TrimPrefix(err.(*scan.Malformed).Field, "pack.")
	}
	return "", ""
}

// TestWriteFiles writes the files of bench/results/consolidated.md; only when asked.
func TestWriteFiles(t *testing.T) {
	if *writeTo == "" {
		t.Skip("only with -write-to DIR")
	}
	write := func(name string, fill func(io.Writer)) {
		f, err := os.Create(filepath.Join(*writeTo, name))
		if err != nil {
			t.Fatal(err)
		}
		fill(f)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d := makeDelivery(*writePacks, false)
	write("delivery.csv", d.csv)
	write("delivery.xml", d.xml)
	write("delivery.json", d.json)
	// The first case without two of its packs, and with one that nobody listed.
	counted := append([]made{}, d.packs[2:50]...)
	counted = append(counted, made{gtin(3400930000000), "STRANGER", "LOT000", d.packs[0].expiry, ""})
	write("case.scans", func(w io.Writer) { scans(w, counted) })
	var each []made
	for i := 5; i < len(d.packs); i += 2000 { // not one of the two that are missing
		each = append(each, d.packs[i])
	}
	write("batches.scans", func(w io.Writer) { scans(w, each) })
	t.Logf("first case %s, pallet %s, note %s", d.sscc[0], d.pallet, d.note)
}
