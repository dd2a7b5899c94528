package queue

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is a NATS server in this process, on a directory that is locked for it.
type embedded struct {
	srv  *server.Server
	lock *os.File
	mqtt *mqttPacer // before its MQTT listener; nil: none
}

// startEmbedded locks cfg.Dir and starts a server on it. The files stand in
// Dir/jetstream, where the server puts them. refused is told what MQTT clients may not
// publish; it must not block.
func startEmbedded(cfg Config, refused func(refusal)) (*embedded, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("the directory of the embedded server cannot be made: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{lock: lock}
	opts := &server.Options{
		ServerName: cfg.Name + "-embedded",
		JetStream:  true,
		StoreDir:   cfg.Dir,
		SyncAlways: !cfg.Lazy,
		// Its default of 1,000 consumers a stream would end a setup of more accounts.
		JetStreamLimits: server.JSLimitOpts{DefaultMaxConsumers: -1},
		DontListen:      true,
		NoSigs:          true,
	}
	if cfg.Listen != "" {
		host, port, _ := net.SplitHostPort(cfg.Listen) // checked by Validate
		opts.DontListen, opts.Host = false, host
		if opts.Port, err = strconv.Atoi(port); err != nil {
			return nil, errors.Join(fmt.Errorf("nats.listen: port %q: %w", port, err), e.stop())
		}
		if opts.Port == 0 {
			opts.Port = server.RANDOM_PORT
		}
	}
	if cfg.MQTT != nil {
		cfg.MQTT.options(opts)
	}
	log := &serverLog{tell: cfg.OnLog, refused: func(connection uint64, subject string) {
		if r, ok := e.refusedTo(connection, subject); ok {
			refused(r)
		}
	}}
	if e.srv, err = server.NewServer(opts); err != nil {
		return nil, errors.Join(fmt.Errorf("the embedded server does not accept its settings: %w", err), e.stop())
	}
	e.srv.SetLoggerV2(log, false, false, false)
	e.srv.Start()
	// A directory that cannot be written ends the server from inside, so both are awaited.
	ready, deadline := false, time.Now().Add(30*time.Second)
	for !ready && log.fatal.Load() == nil && e.srv.Running() && time.Now().Before(deadline) {
		ready = e.srv.ReadyForConnections(100 * time.Millisecond)
	}
	if fatal := log.fatal.Load(); fatal != nil {
		err = errors.New(*fatal)
	} else if !ready {
		err = errors.New("it did not get ready within 30 s")
	} else {
		if cfg.MQTT != nil {
			// The server notes the port that it chose in its options.
			if e.mqtt, err = startPacer(cfg.MQTT, net.JoinHostPort(opts.MQTT.Host, strconv.Itoa(opts.MQTT.Port))); err != nil {
				return nil, errors.Join(fmt.Errorf("MQTT cannot listen: %w", err), e.stop())
			}
		}
		return e, nil
	}
	return nil, errors.Join(fmt.Errorf("the embedded server does not start on %s: %w", cfg.Dir, err), e.stop())
}

// lockDir takes the directory for this process. The lock goes when the process
// does, however it ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "nats.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the directory of the embedded server cannot be used: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: %s", ErrLocked, dir)
	}
	return nil, fmt.Errorf("locking %s: %w", dir, err)
}

// stop ends the server, its files flushed, and frees the directory.
func (e *embedded) stop() error {
	if e.mqtt != nil {
		e.mqtt.close()
	}
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
	}
	return e.lock.Close()
}
