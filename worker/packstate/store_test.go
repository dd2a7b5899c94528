package packstate_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"decom/worker/packstate"
	"decom/worker/packstate/packstatetest"
)

func open(t testing.TB, cfg packstate.Config) *packstate.Store {
	t.Helper()
	s, err := packstate.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func fixture(t *testing.T, s *packstate.Store) packstatetest.Fixture {
	lose := func() {
		t.Helper()
		if err := s.FlushAll(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	lose()
	return packstatetest.Fixture{Store: s, Lose: lose}
}

func TestEmbeddedKeepsEveryPromise(t *testing.T) {
	packstatetest.Suite(t, func(t *testing.T) packstatetest.Fixture {
		s := open(t, packstate.Config{Dir: t.TempDir()})
		if !s.Embedded() {
			t.Fatal("a store without an address does not call itself embedded")
		}
		return fixture(t, s)
	})
}

func TestRedisKeepsEveryPromise(t *testing.T) {
	url := packstatetest.Redis(t)
	packstatetest.Suite(t, func(t *testing.T) packstatetest.Fixture {
		return fixture(t, open(t, packstate.Config{URL: url}))
	})
}

// One node serves every slot, yet refuses keys of two slots in one script, which
// is what a cluster of many would do.
func TestClusterKeepsEveryPromise(t *testing.T) {
	server := packstatetest.StartRedis(t, packstatetest.RedisOptions{Cluster: true})
	packstatetest.Suite(t, func(t *testing.T) packstatetest.Fixture {
		return fixture(t, open(t, packstate.Config{Addrs: []string{server.Addr()}}))
	})
}

func TestSentinelLeadsToTheMaster(t *testing.T) {
	master := packstatetest.StartRedis(t, packstatetest.RedisOptions{})
	sentinel := packstatetest.StartRedis(t, packstatetest.RedisOptions{Monitor: master})
	s := open(t, packstate.Config{Addrs: []string{sentinel.Addr()}, Master: packstatetest.Master})
	begin(t, s, 2)
	wantView(t, s, packstate.OK, 2)
	if err := s.Drop(t.Context(), acc); err != nil {
		t.Fatal(err)
	}
	begin(t, s, 1)
	wantView(t, open(t, packstate.Config{URL: master.URL()}), packstate.OK, 1)
}
