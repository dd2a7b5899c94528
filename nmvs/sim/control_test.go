package sim

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestControlAPI(t *testing.T) {
	r := newRig(t, 5, Settings{})
	c := r.ControlHandler()
	call := func(method, path, body string, status int) string {
		t.Helper()
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		if w.Code != status {
			t.Errorf("%s %s: HTTP %d, want %d: %s", method, path, w.Code, status, w.Body)
		}
		return w.Body.String()
	}
	call("POST", "/stock", `[{"code":"`+gtin1+`","serial":"a/b?c%","batch":"L1"},{"code":"`+gtin2+`","withdrawn":true}]`, 200)
	call("POST", "/stock", `{"code":"1"}`, 400)
	call("POST", "/stock", `{"codes":"1"}`, 400)
	r.do(ask{op: "G120", sn: "a/b?c%"}).want(t, "SUCCESS")
	r.do(ask{op: "G110", code: gtin2, sn: "S1", batch: "B2201", expiry: "280531"}).want(t, "SUCCESS")
	var pack PackState
	if err := json.Unmarshal([]byte(call("GET", "/packs/"+url.PathEscape("GTIN|"+gtin1+"|a/b?c%"), "", 200)), &pack); err != nil || pack.Decommissions != 1 {
		t.Errorf("%+v %v", pack, err)
	}
	call("GET", "/packs/GTIN%7C1%7C2", "", 404)
	call("GET", "/packs/x", "", 400)
	var entries []Entry
	if err := json.Unmarshal([]byte(call("GET", "/ledger?since=1", "", 200)), &entries); err != nil || len(entries) != 1 || entries[0].Op != "G110" {
		t.Errorf("%+v %v", entries, err)
	}
	if got := call("GET", "/ledger?since=9", "", 200); got != "[]\n" {
		t.Errorf("empty ledger %q", got)
	}
	call("GET", "/ledger?since=x", "", 400)
	call("PUT", "/settings", `{"latency":{"fixed":"1ms"},"faults":[{"ops":["G130"],"fault":{"kind":"code"}}]}`, 200)
	call("PUT", "/settings", `{"rules":{"tolerance":2}}`, 200)
	if s := r.Settings(); s.Latency.Fixed != Duration(time.Millisecond) || s.Rules.Tolerance != 2 || len(s.Faults) != 1 {
		t.Errorf("settings %+v", s)
	}
	call("PUT", "/settings", `{"faults":[{"fault":{"kind":"code","when":"before"},"service":"bulk"}]}`, 200)
	if f := r.Settings().Faults; len(f) != 1 || f[0].Ops != nil || f[0].Service != "bulk" {
		t.Errorf("a new list of faults holds parts of the old one: %+v", f)
	}
	call("PUT", "/settings", `{"faults":[]}`, 200)
	if f := r.Settings().Faults; len(f) != 0 {
		t.Errorf("faults that were cleared: %+v", f)
	}
	call("PUT", "/settings", `{"rules":{"tolerence":2}}`, 400)
	call("PUT", "/settings", `{"latency":{"tail_p":2}}`, 400)
	call("PUT", "/settings", `{} {}`, 400)
	if s := r.Settings(); s.Latency.TailP != 0 {
		t.Error("a refused change was kept")
	}
	call("POST", "/faults", `{"ops":["G120"],"fault":{"kind":"code","code":"NMVS_TI_TO_01","when":"before"}}`, 200)
	call("POST", "/faults", `[{"fault":{"kind":"nonsense"}}]`, 400)
	r.do(ask{op: "G120"}).want(t, "TI_TO_01")
	call("POST", "/faults", `[{"fault":{"kind":"hang"}},{"fault":{"kind":"reset"}}]`, 200)
	if got := call("DELETE", "/faults", "", 200); got != "{\"cleared\":2}\n" {
		t.Error(got)
	}
	call("POST", "/clock", `{"advance":"24h"}`, 200)
	call("POST", "/clock", `{"advance":"-1h"}`, 400)
	if !r.Now().Equal(start.Add(24 * time.Hour)) {
		t.Errorf("clock %v", r.Now())
	}
	call("GET", "/clock", "", 200)
	call("POST", "/unlock", `{"client_login_id":"DEMO-SITE-01","user_id":"DEMO-USER-01"}`, 204)
	call("POST", "/unlock", `{"client_login_id":"NO","user_id":"BODY"}`, 404)
	var counts Counts
	if err := json.Unmarshal([]byte(call("GET", "/counts", "", 200)), &counts); err != nil || counts.Calls["G120"] != 2 || counts.Effects["G120"] != 1 {
		t.Errorf("%+v %v", counts, err)
	}
	if got := call("GET", "/verdict", "", 200); !strings.HasPrefix(got, `{"clean":true`) {
		t.Error(got)
	}
	call("POST", "/reset", "", 204)
	if c := r.Counts(); c.Entries != 0 || c.Packs != 0 || r.Settings().Rules.Tolerance != 0 || !r.Now().Equal(start) {
		t.Errorf("after reset: %+v", c)
	}
}
