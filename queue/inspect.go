package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Inspection is what [Conn.Inspect] found out about the server, for people.
type Inspection struct {
	Server   string // name
	Version  string
	Cluster  string // empty: the server stands alone
	Embedded bool   // it runs in this process
	// RTT is the time of one request to JetStream, its median of a few.
	RTT time.Duration
	// Skew is the server's clock less ours, as far as half of RTT allows to say; valid
	// when SkewKnown: the server tells its time only beside a stream.
	Skew      time.Duration
	SkewKnown bool
	// Sync is "always", or the interval at which the server syncs its files; empty when
	// it could not be read, and then SyncWhy says why.
	Sync, SyncWhy string
	// MaxConsumers is how many consumers each of our streams may have, which is how many accounts
	// fit; -1: any number; 0: not known.
	MaxConsumers int
	// Used and Limit are the bytes of file storage of our NATS account; Limit 0: none.
	Used, Limit int64
	Streams     []StreamState
	// Captures are streams of others that take subjects of ours.
	Captures []Capture
	// Strangers are consumers of our streams that no account of the configuration has,
	// as stream/consumer. They harm nobody; a person may know whose they are.
	Strangers []string
}

// StreamState is one of our streams as it stands.
type StreamState struct {
	Name     string
	Messages uint64
	Bytes    uint64
	MaxBytes int64 // 0: no limit; when reached nothing more is taken (discard new)
	Replicas int
	Behind   []string // replicas that are offline or not current
}

// Capture is a stream of somebody else that takes subjects of ours.
type Capture struct {
	Stream   string
	Subjects []string
}

// monitorPort is where a server's monitoring listens by custom.
const monitorPort = "8222"

// Inspect looks at the server and changes nothing. What Setup would change it does not
// tell: that is Setup with dryRun. monitor is the base URL of the server's monitoring;
// empty: the custom port of the server's host is tried.
func (c *Conn) Inspect(ctx context.Context, accounts []Account, monitor string) (Inspection, error) {
	in := Inspection{
		Server: c.nc.ConnectedServerName(), Version: c.nc.ConnectedServerVersion(),
		Cluster: c.nc.ConnectedClusterName(), Embedded: c.emb != nil,
	}
	var took []time.Duration
	for range 5 {
		began := time.Now()
		info, err := c.js.AccountInfo(ctx)
		if err != nil {
			return in, fail("inspect", "", err)
		}
		took = append(took, time.Since(began))
		in.Used, in.Limit = int64(info.Store), max(info.Limits.MaxStore, 0)
		in.MaxConsumers = max(info.Limits.MaxConsumers, 0)
	}
	slices.Sort(took)
	in.RTT = took[len(took)/2]
	if err := c.inspectStreams(ctx, &in); err != nil {
		return in, fail("inspect", "", err)
	}
	if err := c.inspectConsumers(ctx, &in, accounts); err != nil {
		return in, fail("inspect", "", err)
	}
	byDefault := 0
	in.Sync, byDefault, in.SyncWhy = c.serverModes(ctx, monitor)
	if in.MaxConsumers == 0 {
		in.MaxConsumers = byDefault // counts only where neither NATS account nor stream has a limit
	}
	return in, nil
}

func (c *Conn) inspectStreams(ctx context.Context, in *Inspection) error {
	own := c.streams()
	list := c.js.ListStreams(ctx)
	for info := range list.Info() {
		i := slices.IndexFunc(own, func(s jetstream.StreamConfig) bool { return s.Name == info.Config.Name })
		if i < 0 {
			if taken := oursAmong(info.Config.Subjects); len(taken) > 0 {
				in.Captures = append(in.Captures, Capture{info.Config.Name, taken})
			}
			continue
		}
		s := StreamState{
			Name: info.Config.Name, Messages: info.State.Msgs, Bytes: info.State.Bytes,
			MaxBytes: max(info.Config.MaxBytes, 0), Replicas: info.Config.Replicas,
		}
		if info.Cluster != nil {
			for _, r := range info.Cluster.Replicas {
				if r.Offline || !r.Current {
					s.Behind = append(s.Behind, r.Name)
				}
			}
		}
		in.Streams = append(in.Streams, s)
		if most := info.Config.MaxConsumers; most > 0 && (in.MaxConsumers == 0 || most < in.MaxConsumers) {
			in.MaxConsumers = most
		}
	}
	if err := list.Err(); err != nil {
		return err
	}
	if len(in.Streams) == 0 {
		return nil
	}
	began := time.Now()
	stream, err := c.js.Stream(ctx, in.Streams[0].Name)
	if err != nil {
		return err
	}
	if ts := stream.CachedInfo().TimeStamp; !ts.IsZero() {
		in.Skew, in.SkewKnown = ts.Sub(began.Add(time.Since(began)/2)), true
	}
	return nil
}

// oursAmong returns those subjects that take a message of decom's streams.
func oursAmong(subjects []string) (taken []string) {
	for _, s := range subjects {
		for _, own := range []string{scanPrefix + ">", ledgerPrefix + "*", outcomePrefix + ">"} {
			if collide(s, own) {
				taken = append(taken, s)
				break
			}
		}
	}
	return taken
}

// collide says whether one subject can match both filters.
func collide(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; ; i++ {
		switch {
		case i == len(as) || i == len(bs):
			return len(as) == len(bs)
		case as[i] == ">" || bs[i] == ">":
			return true
		case as[i] != bs[i] && as[i] != "*" && bs[i] != "*":
			return false
		}
	}
}

func (c *Conn) inspectConsumers(ctx context.Context, in *Inspection, accounts []Account) error {
	known := map[string]bool{}
	for _, a := range accounts {
		known[StreamScans+"/"+scansConsumer(a.Name)] = true
		known[StreamLedger+"/"+outboxConsumer(a.Name)] = true
	}
	for _, s := range in.Streams {
		stream, err := c.js.Stream(ctx, s.Name)
		if err != nil {
			return err
		}
		list := stream.ListConsumers(ctx)
		for info := range list.Info() {
			// One without a name of its own is a reader's, gone in a minute.
			if name := s.Name + "/" + info.Name; info.Config.Durable != "" && !known[name] {
				in.Strangers = append(in.Strangers, name)
			}
		}
		if err := list.Err(); err != nil {
			return err
		}
	}
	return nil
}

// serverModes finds out when the server syncs its files, and how many consumers it gives a stream
// (as Inspection.MaxConsumers). A client of an account cannot ask
// for it; the server's monitoring tells it to everybody who reaches it.
func (c *Conn) serverModes(ctx context.Context, monitor string) (sync string, consumers int, why string) {
	if c.emb != nil {
		if c.cfg.Lazy {
			return (2 * time.Minute).String(), -1, ""
		}
		return "always", -1, ""
	}
	given := monitor != ""
	if !given {
		u, err := url.Parse(c.nc.ConnectedUrlRedacted())
		if err != nil {
			return "", 0, err.Error()
		}
		monitor = "http://" + net.JoinHostPort(u.Hostname(), monitorPort)
	}
	js, err := askMonitor(ctx, monitor)
	switch {
	case err != nil && !given:
		return "", 0, "the server's monitoring does not answer at " + monitor
	case err != nil:
		return "", 0, err.Error()
	case js.ID != c.nc.ConnectedServerId():
		return "", 0, "at " + monitor + " another server answers"
	case js.Config.SyncAlways:
		return "always", js.consumers(), ""
	}
	return js.Config.SyncInterval.String(), js.consumers(), ""
}

// monitored is what is wanted of a server's /jsz.
type monitored struct {
	ID     string `json:"server_id"`
	Config struct {
		SyncAlways   bool          `json:"sync_always"`
		SyncInterval time.Duration `json:"sync_interval"`
	} `json:"config"`
	Limits struct {
		DefaultMaxConsumers int `json:"default_max_consumers"`
	} `json:"limits"`
}

// consumers is how many consumers a stream without a limit of its own may have; -1: any number,
// as before nats-server 2.15, which knows no such limit.
func (m monitored) consumers() int {
	if m.Limits.DefaultMaxConsumers > 0 {
		return m.Limits.DefaultMaxConsumers
	}
	return -1
}

func askMonitor(ctx context.Context, base string) (m monitored, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+"/jsz?config=true", nil)
	if err != nil {
		return m, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return m, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return m, fmt.Errorf("%s answers %s", base, resp.Status)
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&m)
	if err == nil && m.ID == "" {
		err = errors.New("no answer of a NATS server")
	}
	return m, err
}
