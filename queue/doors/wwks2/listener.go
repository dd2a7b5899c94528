package wwks2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// Config is one robot. Zero values are the defaults.
type Config struct {
	// Robot is host:port of a robot that is listened to beside the stock system; 6050 is
	// usual.
	Robot string
	// Listen and Upstream, in Robot's place, put decom in line: the stock system connects to
	// Listen, and each connection goes on to the robot at Upstream.
	Listen, Upstream string
	Site, Device     string
	Mode             Mode
	// Spool is the file that keeps what was heard until the stream has it; one process a file.
	Spool string
	// Subscriber is our number among the robot's clients. Default 990: stock systems are 100.
	Subscriber string
	// Quiet is how long the robot may say nothing before it is asked whether it is there;
	// after as long again the connection is made anew. Default 60 s.
	Quiet time.Duration
	// Pause is the wait before a connection is made anew; it doubles up to 32 times. Default 1 s.
	Pause time.Duration
}

// Validate reports every problem of c at once. It opens nothing.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	switch inLine := c.Listen != "" || c.Upstream != ""; {
	case inLine && c.Robot != "":
		bad("robot: is for a robot that is listened to, listen and upstream for one behind decom: give one or the other")
	case inLine:
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			bad("listen: %q is not host:port: it is where the stock system connects", c.Listen)
		}
		if host, _, err := net.SplitHostPort(c.Upstream); err != nil || host == "" {
			bad("upstream: %q is not host:port: it is where the robot listens", c.Upstream)
		}
		if c.Listen == c.Upstream && c.Listen != "" {
			bad("upstream: is listen itself")
		}
	default:
		if host, _, err := net.SplitHostPort(c.Robot); err != nil || host == "" {
			bad("robot: %q is not host:port", c.Robot)
		}
	}
	if !scan.ValidToken(c.Site) {
		bad("site: must be 1 to 64 of A-Z a-z 0-9 _ -")
	}
	if !scan.ValidToken(c.Device) {
		bad("device: must be 1 to 64 of A-Z a-z 0-9 _ -")
	}
	if c.Mode == "" {
		bad("mode: is missing: goods-in, robot-input or exit, here or in the device's profile")
	} else if !slices.Contains(Modes(), string(c.Mode)) {
		bad("mode: %q is not goods-in, robot-input or exit", c.Mode)
	}
	if c.Spool == "" {
		bad("spool: is missing")
	}
	if c.Quiet < 0 || c.Pause < 0 {
		bad("negative time")
	}
	return errors.Join(errs...)
}

// Deps are what a listener needs.
type Deps struct {
	// Publish stores scans and returns when the stream has them, as queue.Conn's does.
	Publish func(context.Context, []queue.Scan) ([]queue.Ack, error)
	// Read reads the text of a data carrier as the line does; false: it is no pack's.
	Read func(text string) (scan.Fields, bool)
	// Count is told what was stored, and what was sent without its code. May be nil.
	Count func(site string, stored, refused int)
	// Trouble is told what went by a robot in line without being kept as it should. May be nil.
	Trouble func(site string, what Trouble)
	Log     *slog.Logger
}

// Listener hears one robot, beside the stock system or in line. Make one with New.
type Listener struct {
	cfg   Config
	deps  Deps
	log   *slog.Logger
	spool *spool
	ln    net.Listener // in line only
	tap   *tap         // in line only
}

// New opens the spool, and in line the listening address; it connects nowhere yet.
func New(cfg Config, deps Deps) (*Listener, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Subscriber == "" {
		cfg.Subscriber = "990"
	}
	if cfg.Quiet == 0 {
		cfg.Quiet = time.Minute
	}
	if cfg.Pause == 0 {
		cfg.Pause = time.Second
	}
	if deps.Count == nil {
		deps.Count = func(string, int, int) {}
	}
	if deps.Trouble == nil {
		deps.Trouble = func(string, Trouble) {}
	}
	s, err := openSpool(cfg.Spool)
	if err != nil {
		return nil, err
	}
	l := &Listener{cfg: cfg, deps: deps, spool: s, log: deps.Log.With("robot", cfg.address(), "site", cfg.Site, "device", cfg.Device)}
	if cfg.Listen != "" {
		l.tap = newTap(l)
		if l.ln, err = net.Listen("tcp", cfg.Listen); err != nil {
			s.close()
			return nil, err
		}
	}
	return l, nil
}

// address is where the robot is.
func (c Config) address() string { return c.Robot + c.Upstream }

// Run hears the robot until ctx ends, and connects again for ever.
func (l *Listener) Run(ctx context.Context) error {
	defer l.spool.close()
	if l.ln != nil {
		return l.inLine(ctx)
	}
	l.passive(ctx)
	return nil
}

// passive listens beside the stock system.
func (l *Listener) passive(ctx context.Context) {
	var pump sync.WaitGroup
	defer pump.Wait()
	pump.Go(func() { l.pump(ctx) })
	for wait := l.cfg.Pause; ctx.Err() == nil; {
		heard, err := l.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if heard {
			wait = l.cfg.Pause
		}
		if heard || wait == l.cfg.Pause {
			l.log.Warn("WWKS 2: no connection to the robot, trying again", "err", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, 32*l.cfg.Pause)
	}
}

// dialTime and writeTime bound what a robot can keep us waiting for.
const (
	dialTime  = 5 * time.Second
	writeTime = 5 * time.Second
)

// session is one connection, from Hello to its end. heard says that the robot spoke.
func (l *Listener) session(ctx context.Context) (heard bool, err error) {
	dialer := net.Dialer{Timeout: dialTime}
	conn, err := dialer.DialContext(ctx, "tcp", l.cfg.Robot)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	s := session{l: l, conn: conn}
	if err := s.say(helloRequest(time.Now(), l.cfg.Subscriber)); err != nil {
		return false, err
	}
	err = s.listen()
	return s.heard, err
}

// session is what is known of one connection; owned by its goroutine.
type session struct {
	l      *Listener
	conn   net.Conn
	frames framer
	heard  bool
	asked  int    // KeepAlives that were not answered
	count  int    // of our own messages
	robot  string // its number
}

func (s *session) say(doc []byte) error {
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeTime)) // a TCP connection can
	_, err := s.conn.Write(doc)
	return err
}

// listen reads until the connection ends. A robot that closes its half has said all it had
// to: what came is handled, then the connection is made anew.
func (s *session) listen() error {
	buf := make([]byte, 64<<10)
	for {
		_ = s.conn.SetReadDeadline(time.Now().Add(s.l.cfg.Quiet))
		n, err := s.conn.Read(buf)
		if n > 0 {
			s.asked = 0
			if herr := s.handle(buf[:n]); herr != nil {
				return herr
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && s.asked == 0:
			s.asked++
			s.count++
			if err := s.say(keepRequest(time.Now(), s.count+1, s.l.cfg.Subscriber, s.robot)); err != nil {
				return err
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errors.New("the robot says nothing any more")
		default:
			if rest := s.frames.rest(); rest > 0 {
				s.l.log.Warn("WWKS 2: the connection ended inside a document", "bytes", rest)
			}
			if errors.Is(err, io.EOF) {
				return errors.New("the robot closed the connection")
			}
			return err
		}
	}
}

// handle takes the documents that are whole. Its error ends the connection: what was heard
// and cannot be kept must not be passed over; the robot tells some of it again.
func (s *session) handle(b []byte) error {
	before := s.frames.skipped
	for _, doc := range s.frames.add(b) {
		if doc == nil {
			continue
		}
		e, err := parse(doc)
		if err != nil {
			s.l.log.Warn("WWKS 2: a document cannot be read and is passed over", "bytes", len(doc), "err", err)
			continue
		}
		s.heard = true
		if err := s.take(e); err != nil {
			return err
		}
	}
	if n := s.frames.skipped - before; n > 0 {
		s.l.log.Warn("WWKS 2: documents were cut off or too long and are passed over", "documents", n)
	}
	return nil
}

func (s *session) take(e envelope) error {
	now, id := time.Now(), s.l.cfg.Subscriber
	switch {
	case e.HelloRequest != nil:
		s.robot = e.HelloRequest.Source
		return s.say(helloResponse(now, e.HelloRequest, id))
	case e.HelloResponse != nil:
		s.robot = e.HelloResponse.Source
		s.l.log.Info("WWKS 2: connected to the robot", "mode", s.l.cfg.Mode)
		return nil
	case e.KeepRequest != nil:
		if d := e.KeepRequest.Destination; d != "" && d != id {
			return nil // broadcast, and meant for another client
		}
		return s.say(keepResponse(now, e.KeepRequest, id))
	}
	scans := s.l.scans(s.l.cfg.address(), e)
	if len(scans) == 0 {
		return nil
	}
	if err := s.l.spool.put(scans); err != nil {
		return fmt.Errorf("the spool takes nothing: %w", err)
	}
	return nil
}

// scans are those of a document of the robot at from. It tells of packs that cannot be sent as they should.
func (l *Listener) scans(from string, e envelope) (scans []queue.Scan) {
	found, left := l.read(from, e)
	for why, n := range left {
		l.log.Debug("WWKS 2: packs that are no scans in this mode", "why", why, "packs", n)
	}
	for _, t := range found {
		scans = append(scans, t.scan)
		if t.differ != "" {
			l.log.Warn("WWKS 2: an attribute contradicts the pack's code, it is sent without it: see to the robot's data", "attribute", t.differ)
			l.deps.Count(l.cfg.Site, 0, 1)
		} else if !t.pack {
			l.log.Warn("WWKS 2: the ScanCode is no pack's code: have the robot's configuration send the whole Data Matrix")
		}
	}
	return scans
}
