package nmvs

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"decom/worker/scan"
)

// The files in testdata were written by hand, not by this package; there is no -update.

func golden(t testing.TB, name string, version int) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".xml")
	if err != nil {
		t.Fatal(err)
	}
	s := strings.ReplaceAll(string(b), ":v5.0", fmt.Sprintf(":v%d.0", version))
	if version < 5 {
		s = strings.ReplaceAll(s, "ItemUndo", "Item")
	}
	return s
}

func demoConfig(version int) Config {
	return Config{
		Endpoints: map[Service]string{Single: "https://127.0.0.1:1/s", Bulk: "https://127.0.0.1:1/b",
			Mixed: "https://127.0.0.1:1/m", Support: "https://127.0.0.1:1/x"},
		Version:         version,
		Credentials:     Credentials{ClientLoginID: "DEMO-SITE-01", UserID: "DEMO-USER-01", Password: "Ex4mple-Only!"},
		Software:        Software{Name: "decomd", Supplier: "Example", Version: "0.1.0"},
		PendingListCode: "G101",
	}
}

func demoClient(t testing.TB, version int) *Client {
	t.Helper()
	c, err := New(demoConfig(version))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var (
	productA = Product{Scheme: scan.GTIN, Code: "09521234000013", Batch: "L-24&7", Expiry: "271100"}
	productB = Product{Scheme: scan.GTIN, Code: "09521234000020", Batch: "B2201", Expiry: "280531"}
	supplyA  = Call{C: "01J8Z3N5Q7R9T1V3X5Z7B9D1F3", Op: scan.Supply, Product: productA, Packs: []Pack{{Serial: "Zk<7aQ0001"}}}
	undoA    = Call{C: "01J8Z3P0A2C4E6G8J0M2P4R6T8", Op: scan.UndoSupply, Product: productA,
		Packs: []Pack{{Serial: "Zk<7aQ0001", RefC: "01J8Z3N5Q7R9T1V3X5Z7B9D1F3"}}}
	verifyA = Call{C: "01J8Z3N5Q7R9T1V3X5Z7B9D1F3", Op: scan.Verify, Product: productA, Packs: []Pack{{Serial: "Zk<7aQ0001"}}}
	bulkB   = Call{C: "01J8Z4B1C3D5E7F9G1H3J5K7M9", Service: Bulk, Op: scan.Supply, Product: productB,
		Packs: []Pack{{Serial: "SN000000000001"}, {Serial: "SN000000000002"}, {Serial: "SN000000000003"}}}
	mixedC = Call{C: "01J8Z5M1N3P5Q7R9S1T3V5W7X9", Service: Mixed, Packs: []Pack{
		{C: "01J8Z5M2P4Q6R8S0T2V4W6X8Y0", Op: scan.Supply, Product: productA, Serial: "Zk<7aQ0002"},
		{C: "01J8Z5M3Q5R7S9T1V3W5X7Y9Z1", Op: scan.UndoSample, Product: productB, Serial: "SN000000000009", RefC: "01J8Y0A1B3C5D7E9F1G3H5J7K9"},
		{C: "01J8Z5M4R6S8T0V2W4X6Y8Z0A2", Op: scan.Supply, Manual: true, Product: productB, Serial: "SN000000000010"},
	}}
	listX = Call{Act: ActList, C: "01J8Z6A1B3C5D7E9F1G3H5J7L2", Service: Bulk}
	ping  = Call{Act: ActPing, C: "hello 42"}
	terms = Call{Act: ActTerms, C: "01J8Z6A1B3C5D7E9F1G3H5J7L0", Service: Support}
	newPW = Call{Act: ActPassword, C: "01J8Z6A1B3C5D7E9F1G3H5J7K9", Service: Support, NewPassword: "N3w-Ex4mple-Only!"}
)

func poll(submit Call, c, tx string) Call {
	submit.Act, submit.C, submit.Tx = ActPoll, c, tx
	return submit
}

var (
	pollB = poll(bulkB, "01J8Z4D2E4F6G8H0J2K4M6N8P0", "A0B1C2D3E4F5A6B7C8D9E0F1A2B3C4D5")
	pollC = poll(mixedC, "01J8Z5T1V3W5X7Y9Z1A3B5C7D9", "C9E3F4A5B6C7D8E9F0A1B2C3D4E5F607")
)

func with(c Call, set func(*Call)) Call { set(&c); return c }

func TestRequestsAreThoseOfTheReferencePage(t *testing.T) {
	for name, call := range map[string]Call{
		"g120.request": supplyA, "g121.request": undoA, "g125.request": bulkB, "g188.request": pollB,
		"g195.request": mixedC, "g196.request": pollC, "ping.request": ping, "g445.request": newPW,
		"g482.request": terms, "g101.request": listX,
		"g122.request": {C: "01J8Z5M4R6S8T0V2W4X6Y8Z0A2", Op: scan.Supply, Manual: true, Product: productB, Packs: []Pack{{Serial: "SN000000000010"}}},
		"g127.request": {C: "01J8Z4B1C3D5E7F9G1H3J5K7N0", Service: Bulk, Op: scan.UndoSupply, Product: productB, Packs: []Pack{
			{Serial: "SN000000000001", RefC: bulkB.C}, {Serial: "SN000000000002", RefC: bulkB.C}}},
		"g483.request": {Act: ActAcceptTerms, C: "01J8Z6A1B3C5D7E9F1G3H5J7L1", Service: Support, TermsVersion: 3},
	} {
		for _, version := range []int{2, 4, 5} {
			t.Run(fmt.Sprintf("%s v%d", name, version), func(t *testing.T) {
				got, want := tokens(t, rendered(t, demoClient(t, version), call)), tokens(t, golden(t, name, version))
				if !reflect.DeepEqual(got, want) {
					t.Errorf("rendered\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		}
	}
}

func rendered(t testing.TB, c *Client, call Call) string {
	t.Helper()
	op, err := c.operation(&call)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.login.secrets()
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.render(nil, &call, op, s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// tokens is the canonical form of a document: names with namespaces, sorted
// attributes, text; no prefixes, no white space between elements.
func tokens(t testing.TB, doc string) (list []string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(doc))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			var attrs []string
			for _, a := range tok.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
					attrs = append(attrs, fmt.Sprintf("{%s}%s=%q", a.Name.Space, a.Name.Local, a.Value))
				}
			}
			sort.Strings(attrs)
			list = append(list, fmt.Sprintf("<{%s}%s %s>", tok.Name.Space, tok.Name.Local, strings.Join(attrs, " ")))
		case xml.EndElement:
			list = append(list, "</"+tok.Name.Local+">")
		case xml.CharData:
			if s := string(bytes.TrimSpace(tok)); s != "" {
				list = append(list, s)
			}
		}
	}
}

// answer decodes and judges doc as the reply to call.
func answer(t testing.TB, c *Client, call Call, doc string) (Answer, error) {
	t.Helper()
	op, err := c.operation(&call)
	if err != nil {
		t.Fatal(err)
	}
	r, err := decode(strings.NewReader(doc), c.cfg.Version, op.Code, &call)
	if err != nil {
		return Answer{}, err
	}
	return c.judge(&call, op, r)
}

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestRepliesOfTheReferencePageAreUnderstood(t *testing.T) {
	nine := at("2026-03-02T09:00:00Z")
	const tx = "0718293A4B5C6D7E8F90A1B2C3D4E5F6"
	found := func(f Finding) Finding { f.Tx, f.At = tx, nine; return f }
	for name, tc := range map[string]struct {
		call Call
		want Answer
	}{
		"g120.success.reply": {supplyA, Answer{
			Finding: Finding{Class: Success, Code: "NMVS_SUCCESS", Desc: "Processed.", State: "INACTIVE", Reasons: []string{"SUPPLIED"},
				Tx: "7F3A9C0D41E24B6F8A5510C2D3E4F601", At: at("2026-03-02T08:15:30.123Z"), ExpiryNMVS: "2027-11-30"},
			Notices: []Notice{{NoticePasswordExpires, "Password expires in 9 days."}}}},
		"g120.login.reply": {with(supplyA, func(c *Call) { c.C = "01J8Z7C1D3E5F7G9H1J3K5M7N9" }), Answer{
			Finding: found(Finding{Class: Login, Code: "NMVS_FE_AU_11", Desc: "Password is expired or initial."})}},
		"g120.inactive.reply": {supplyA, Answer{
			Finding: found(Finding{Class: Foreign, Reason: WhyAlreadyInactive, Alert: AlertYes, Code: "NMVS_NC_PCK_22",
				Desc: "Pack is inactive already.", State: "INACTIVE", Reasons: []string{"DESTROYED"}, AlertID: "FR-0A1-B2C-3D4-E5F-6G7"})}},
		"g120.serial.reply": {supplyA, Answer{
			Finding: found(Finding{Class: Data, Reason: WhyUnknownSerial, Alert: AlertYes, Code: "NMVS_NC_PC_02", State: "UNKNOWN",
				Desc: "Serial not known. DE-0A1-B2C-3D4-E5F-6G7", AlertID: "DE-0A1-B2C-3D4-E5F-6G7"})}},
		"g110.active.reply": {verifyA, Answer{
			Finding: found(Finding{Class: Success, Code: "NMVS_SUCCESS", State: "ACTIVE", Intermarket: true})}},
		"g121.success.reply": {undoA, Answer{Finding: found(Finding{Class: Success, Code: "NMVS_SUCCESS", State: "ACTIVE"})}},
		"g125.accepted.reply": {bulkB, Answer{Finding: Finding{Class: Success, Code: "NMVS_SUCCESS",
			Tx: "A0B1C2D3E4F5A6B7C8D9E0F1A2B3C4D5", At: at("2026-03-02T08:20:00Z")}}},
		"g188.notready.reply": {pollB, Answer{Finding: Finding{Class: NotReady, Code: "NMVS_FE_TX_02", Desc: "Bulk transaction id is not available.",
			Tx: "B1C2D3E4F5A6B7C8D9E0F1A2B3C4D5E6", At: at("2026-03-02T08:20:02Z")}}},
		"g188.result.reply": {pollB, bulkResult},
		"g196.result.reply": {pollC, mixedResult},
		"ping.reply":        {ping, Answer{Finding: Finding{Class: Success}}},
		"g445.reply":        {newPW, Answer{Finding: found(Finding{Class: Success, Code: "NMVS_SUCCESS"})}},
		"g482.reply": {terms, Answer{Finding: found(Finding{Class: Success, Code: "NMVS_SUCCESS"}),
			Terms: &Terms{Version: 3, Text: "Be good.", Start: at("2026-01-01T00:00:00Z")}}},
		"g101.reply": {listX, Answer{Finding: found(Finding{Class: Success, Code: "NMVS_SUCCESS"}),
			Pending: []Pending{{bulkB.C, pollB.Tx}, {mixedC.C, pollC.Tx}}}},
	} {
		for _, version := range []int{2, 4, 5} {
			t.Run(fmt.Sprintf("%s v%d", name, version), func(t *testing.T) {
				got, err := answer(t, demoClient(t, version), tc.call, golden(t, name, version))
				if err != nil {
					t.Fatal(err)
				}
				tc.want.C = tc.call.C
				if !reflect.DeepEqual(got, tc.want) {
					t.Errorf("got\n%+v\nwant\n%+v", got, tc.want)
				}
			})
		}
	}
}

var bulkResult = func() Answer {
	const tx, when = "C2D3E4F5A6B7C8D9E0F1A2B3C4D5E6F7", "2026-03-02T08:20:09Z"
	f := func(f Finding) Finding { f.Tx, f.At = tx, at(when); return f }
	return Answer{
		Finding: f(Finding{Class: Success, Code: "NMVS_NC_PCK_24", Desc: "At least one serial was not processed."}),
		Packs: []PackAnswer{
			{I: 0, Serial: "SN000000000001", Finding: f(Finding{Class: Success, Code: "NMVS_SUCCESS", State: "INACTIVE", Reasons: []string{"SUPPLIED"}})},
			{I: 1, Serial: "SN000000000002", Finding: f(Finding{Class: Foreign, Reason: WhyAlreadyInactive, Alert: AlertYes,
				Code: "NMVS_NC_PCK_22", Desc: "Pack is inactive already.", State: "INACTIVE", Reasons: []string{"DESTROYED"}})},
			{I: 2, Serial: "SN000000000003", Finding: f(Finding{Class: Data, Reason: WhyUnknownSerial, Alert: AlertYes,
				Code: "NMVS_NC_PC_02", Desc: "Serial number not known.", State: "UNKNOWN"})},
		}}
}()

var mixedResult = Answer{
	Finding: Finding{Class: Success, Code: "NMVS_SUCCESS", Tx: "D3E4F5A6B7C8D9E0F1A2B3C4D5E6F708", At: at("2026-03-02T08:31:12Z")},
	Absent:  1,
	Packs: []PackAnswer{
		{I: 0, Serial: "Zk<7aQ0002", C: "01J8Z5M2P4Q6R8S0T2V4W6X8Y0", Finding: Finding{Class: Success, Code: "NMVS_SUCCESS", State: "INACTIVE",
			Reasons: []string{"SUPPLIED"}, Tx: "E4F5A6B7C8D9E0F1A2B3C4D5E6F70819", At: at("2026-03-02T08:31:10Z")}},
		{I: 1, Serial: "SN000000000009", C: "01J8Z5M3Q5R7S9T1V3W5X7Y9Z1", Finding: Finding{Class: Success, Code: "NMVS_SUCCESS", State: "ACTIVE",
			Tx: "F5A6B7C8D9E0F1A2B3C4D5E6F708192A", At: at("2026-03-02T08:31:11Z")}},
	}}
