package queue_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"decom/queue"
)

func TestReadScansFollowsWithoutSettling(t *testing.T) {
	cfg := lazy()
	cfg.Dir = t.TempDir()
	c, err := queue.Connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	setup(t, c, queue.Account{Name: "a", Sites: []string{"s", "z"}})
	publish := func(site, device, id string) {
		t.Helper()
		if _, err := c.PublishScan(t.Context(), site, device, id, []byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	publish("s", "d", "1")
	publish("z", "d", "2")
	enough := errors.New("enough")
	for _, tc := range []struct {
		site, device string
		want         []string
	}{
		{"", "", []string{"1", "2", "3", "4"}}, {"s", "", []string{"1", "3", "4"}}, {"", "e", []string{"4"}}, {"s", "d", []string{"1", "3"}},
	} {
		var got []string
		began := time.Now().Add(-time.Minute)
		more := tc.site == "" && tc.device == ""
		err := c.ReadScans(t.Context(), tc.site, tc.device, began, func(s queue.StoredScan) error {
			if string(s.Body) != s.MsgID || s.Seq == 0 || s.Stored.IsZero() {
				t.Errorf("scan %+v", s)
			}
			got = append(got, s.MsgID)
			if more && len(got) == 2 { // new ones come while it reads
				publish("s", "d", "3")
				publish("s", "e", "4")
			}
			if len(got) == len(tc.want) {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || !slices.Equal(got, tc.want) {
			t.Errorf("site %q device %q: %v, %v, want %v", tc.site, tc.device, got, err, tc.want)
		}
	}
	p, err := c.Scans("a").Pending(t.Context())
	if err != nil || p.Pending != 4 {
		t.Errorf("the account's consumer has %d pending (%v), want all 4", p.Pending, err)
	}
}
