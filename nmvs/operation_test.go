package nmvs

import (
	"strings"
	"testing"

	"decom/worker/scan"
)

func TestEveryScanOperationHasACodeOnEveryPackService(t *testing.T) {
	for _, op := range scan.Ops() {
		for _, svc := range []Service{Single, Bulk, Mixed} {
			o, ok := CodeFor(op, svc, false, 5)
			if !ok || o.Op != op {
				t.Errorf("CodeFor(%s, %s) = %+v, %v", op, svc, o, ok)
			}
			if wantUndo := op.IsUndo(); o.IsUndo() != wantUndo || o.V2Only {
				t.Errorf("%s %s: undo %v, V2 only %v", op, svc, o.IsUndo(), o.V2Only)
			}
			if o.Changes() == op.IsRead() {
				t.Errorf("%s %s: Changes() = %v", op, svc, o.Changes())
			}
		}
	}
}

func TestCodeForNamesTheOperationOfTheTable(t *testing.T) {
	for _, tc := range []struct {
		op      scan.Op
		svc     Service
		manual  bool
		version int
		want    string
	}{
		{scan.Supply, Single, false, 5, "G120"}, {scan.Supply, Single, true, 5, "G122"},
		{scan.UndoSupply, Single, false, 5, "G121"}, {scan.UndoSupply, Single, true, 5, "G123"},
		{scan.UndoSupply, Single, true, 2, "G121"}, {scan.UndoSupply, Mixed, true, 5, "G121"},
		{scan.Stolen, Single, true, 5, "G182"}, {scan.Destroy, Single, true, 5, "G130"},
		{scan.Supply, Mixed, true, 4, "G122"}, {scan.Supply, Mixed, false, 4, "G120"},
		{scan.Verify, Bulk, false, 5, "G115"}, {scan.Verify, Single, true, 5, "G110"},
		{scan.Supply, Bulk, false, 5, "G125"}, {scan.UndoSupply, Bulk, true, 5, "G127"},
		{scan.UndoLock, Bulk, false, 5, "G177"}, {scan.UndoSample, Single, false, 5, "G151"},
		{scan.Supply, Bulk, true, 5, ""}, {scan.Supply, Support, false, 5, ""}, {0, Single, false, 5, ""},
	} {
		o, ok := CodeFor(tc.op, tc.svc, tc.manual, tc.version)
		if o.Code != tc.want || ok != (tc.want != "") {
			t.Errorf("CodeFor(%s, %s, %v, %d) = %q, %v, want %q", tc.op, tc.svc, tc.manual, tc.version, o.Code, ok, tc.want)
		}
	}
}

func TestTheOperationTableIsConsistent(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range Operations() {
		if seen[o.Code] || o.Code == "" || o.Name == "" {
			t.Errorf("%+v: repeated or incomplete", o)
		}
		seen[o.Code] = true
		if got, ok := Lookup(o.Code); !ok || got != o {
			t.Errorf("Lookup(%s) = %+v", o.Code, got)
		}
		if strings.HasPrefix(o.Code, "G") && !strings.HasPrefix(o.Name, o.Code) {
			t.Errorf("%s is named %s", o.Code, o.Name)
		}
		if o.UndoneBy != "" {
			u, ok := Lookup(o.UndoneBy)
			if !ok || !u.IsUndo() || u.Reason != o.Reason || u.Service != o.Service || u.Op.Undoes() != o.Op && !u.V2Only {
				t.Errorf("%s is undone by %+v", o.Code, u)
			}
		}
		if o.V2Only != (o.IsUndo() && o.Op == 0) {
			t.Errorf("%s: V2Only = %v", o.Code, o.V2Only)
		}
	}
	for _, s := range Services() {
		if p, ok := PingFor(s); !ok || p.Changes() {
			t.Errorf("ping of %s: %+v", s, p)
		}
		if got, ok := ParseService(s.String()); !ok || got != s {
			t.Errorf("ParseService(%s) = %v, %v", s, got, ok)
		}
	}
}

func TestWantedReasonIsWhatTheOperationSetsOrRemoves(t *testing.T) {
	for op, want := range map[scan.Op]string{
		scan.Supply: "SUPPLIED", scan.Destroy: "DESTROYED", scan.Export: "EXPORTED", scan.Sample: "SAMPLE",
		scan.FreeSample: "FREESAMPLE", scan.Lock: "LOCKED", scan.Stolen: "STOLEN", scan.Verify: "",
		scan.UndoSupply: "SUPPLIED", scan.UndoLock: "LOCKED",
	} {
		if got := WantedReason(op); got != want {
			t.Errorf("WantedReason(%s) = %q, want %q", op, got, want)
		}
	}
}
