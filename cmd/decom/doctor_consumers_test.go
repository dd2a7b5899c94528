package main

import (
	"testing"

	"decom/queue"
)

// Who has more accounts than the server gives a stream consumers is told before decom setup ends.
func TestDoctorCountsConsumersAgainstTheServersLimit(t *testing.T) {
	for _, tc := range []struct {
		accounts, most int
		want           level
	}{
		{1, 0, levelOK}, {1000, 0, levelOK}, {1001, 0, levelWarn},
		{1000, 1000, levelOK}, {1001, 1000, levelFail}, {2080, -1, levelOK}, {3, 2, levelFail},
	} {
		d := &doctor{cfg: &loaded{Config: Config{Accounts: make([]Account, tc.accounts)}}}
		d.natsConsumers(queue.Inspection{MaxConsumers: tc.most, SyncWhy: "it does not answer"})
		if len(d.findings) != 1 || d.findings[0].Level != tc.want {
			t.Errorf("%d accounts, room for %d: %+v, want %s", tc.accounts, tc.most, d.findings, tc.want)
		}
	}
}
