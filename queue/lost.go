package queue

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamLost keeps what MQTT clients publish and no other stream takes. It exists only
// where MQTT is used (Config.MQTT, Config.KeepLost).
const StreamLost = "DECOM_LOST"

// lostPrefix begins the subjects under which the embedded server's refusals are noted:
// decom.lost.SITE.DEVICE and the subject that was refused.
const lostPrefix = "decom.lost."

// misspelt are the subjects of topics that a person wrote almost right. JetStream has no
// filter for "everything else", so they are the mistakes that occur: dots for slashes (one
// level of text then), a leading or a doubled slash, a prefix that is cut off, in capitals
// or in the plural.
var misspelt = []string{"*", "/.>", "decom.*", "decom./.>", "scan.>", "scans.>", "Decom.>", "DECOM.>", "decom.Scan.>", "decom.SCAN.>", "decom.scans.>"}

// What DECOM_LOST keeps: it is for finding a mistake, not for keeping scans.
const (
	lostAge      = 7 * 24 * time.Hour
	lostMessages = 10_000
	lostPerTopic = 1_000
	lostBytes    = 64 << 20
)

func (c *Conn) keepsLost() bool { return c.cfg.MQTT != nil || c.cfg.KeepLost }

func (c *Conn) lostStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: StreamLost, Description: "decom: what MQTT clients published under topics that nobody takes",
		Subjects:  append(slices.Clone(misspelt), lostPrefix+">"),
		Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld,
		MaxConsumers: -1, MaxMsgs: lostMessages, MaxMsgsPerSubject: lostPerTopic, MaxBytes: lostBytes, MaxAge: lostAge, MaxMsgSize: -1,
		Replicas: max(c.cfg.Replicas, 1),
		// Requests of other programs must not get a stream's answer.
		NoAck: true,
	}
}

// planLost creates the stream; one that is there keeps the limits that people gave it.
func (c *Conn) planLost(ctx context.Context) (*step, error) {
	want := c.lostStream()
	stream, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (jetstream.Stream, error) { return c.js.Stream(ctx, StreamLost) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return &step{
			changes: []Change{{Object: StreamLost}},
			do:      func(ctx context.Context) error { _, err := c.js.CreateStream(ctx, want); return err },
		}, nil
	}
	if err != nil {
		return nil, err
	}
	have := stream.CachedInfo().Config
	d := diff{object: StreamLost}
	if !slices.Equal(have.Subjects, want.Subjects) {
		d.changes = append(d.changes, Change{StreamLost, "subjects", strings.Join(have.Subjects, ","), strings.Join(want.Subjects, ",")})
		have.Subjects = want.Subjects
	}
	set(&d, "no_ack", &have.NoAck, true)
	return d.step(func(ctx context.Context) error { _, err := c.js.UpdateStream(ctx, have); return err })
}

// LostTopic is an MQTT topic whose events went nowhere.
type LostTopic struct {
	Topic  string // as the device wrote it
	Device string // SITE/DEVICE that was refused it; empty: anybody, the event itself is kept
	Events uint64 // of the last 7 days, at most 1,000
}

// Lost returns the topics on which MQTT events were lost in the last 7 days, by name. It is
// empty where the stream does not exist.
func (c *Conn) Lost(ctx context.Context) ([]LostTopic, error) {
	info, err := again(ctx, c.cfg.AnswerWait, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		stream, err := c.js.Stream(ctx, StreamLost)
		if err != nil {
			return nil, err
		}
		return stream.Info(ctx, jetstream.WithSubjectFilter(">"))
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fail("read lost topics", StreamLost, err)
	}
	var list []LostTopic
	for subject, n := range info.State.Subjects {
		t := LostTopic{Topic: topic(subject), Events: n}
		if refused, ok := strings.CutPrefix(subject, lostPrefix); ok {
			if parts := strings.SplitN(refused, ".", 3); len(parts) == 3 {
				t.Device, t.Topic = parts[0]+"/"+parts[1], topic(parts[2])
			}
		}
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b LostTopic) int { return strings.Compare(a.Topic+a.Device, b.Topic+b.Device) })
	return list, nil
}

// refusal is a publish that the embedded server dropped though it sent PUBACK.
type refusal struct{ site, device, subject string }

// refusalsWaiting bounds those that are not noted yet; a flood of them says nothing new.
const refusalsWaiting = 256

// refusedLine finds the connection in the server's line about an MQTT client's publish.
var refusedLine = regexp.MustCompile(`mid:([0-9]+) - .*Publish Violation - Subject %q$`)

// refusedIn reads a line of the embedded server. There is no other way to hear of a refused
// publish: the client gets PUBACK, and no event is sent. Should the server change its words,
// refusals are in the log only, and TestAForeignTopicIsRefusedAndShown fails.
func refusedIn(format string, args []any) (connection uint64, subject string, ok bool) {
	m := refusedLine.FindStringSubmatch(format)
	if m == nil || len(args) != 1 {
		return 0, "", false
	}
	text, ok := args[0].([]byte)
	if !ok || len(text) > 256 {
		return 0, "", false
	}
	connection, err := strconv.ParseUint(m[1], 10, 64)
	return connection, string(text), err == nil
}

// refusedTo asks the server whose connection it is; its user is what mqttGate made it.
func (e *embedded) refusedTo(connection uint64, subject string) (refusal, bool) {
	client := e.srv.GetClient(connection)
	if client == nil {
		return refusal{}, false
	}
	site, device, ok := strings.Cut(client.GetOpts().Username, "/")
	if device == AnyDevice {
		device = "any" // no wildcard in a subject
	}
	return refusal{site, device, subject}, ok
}

// refusals are noted by a goroutine of their own: the server tells them from the goroutine
// that reads the device's connection.
type refusals struct {
	came  chan refusal
	stop  chan struct{}
	once  sync.Once
	ended sync.WaitGroup
}

// refuse takes a refusal in, unless many wait already.
func (c *Conn) refuse(r refusal) {
	if c.notes == nil {
		return
	}
	select {
	case c.notes.came <- r:
	default:
	}
}

// start publishes refusals to DECOM_LOST until end.
func (n *refusals) start(c *Conn) {
	n.ended.Go(func() {
		for {
			select {
			case r := <-n.came:
				if err := c.nc.Publish(lostPrefix+r.site+"."+r.device+"."+r.subject, []byte(topic(r.subject))); err != nil && !c.closing.Load() {
					c.cfg.OnLog("warn", "a refused MQTT topic is not noted in "+StreamLost+": "+err.Error())
				}
			case <-n.stop:
				return
			}
		}
	})
}

// end may be called twice, and without start.
func (n *refusals) end() {
	n.once.Do(func() { close(n.stop) })
	n.ended.Wait()
}
