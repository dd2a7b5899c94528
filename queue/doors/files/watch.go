package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// Folder is one watched folder. Zero values are the defaults.
type Folder struct {
	Path         string // the folder; done, failed and .decom are made in it
	Site, Device string // of every scan in it
	Op, Entry    string // of lines that do not say
	CSV          CSVOptions
	// Table says that every file is a table, whatever its name; else .csv files are.
	Table bool
	// Poll is the time between two looks. Default 2 s. Looking works on network drives,
	// where notifications do not.
	Poll time.Duration
	// Stable is how long size and time of a file must stay the same before it counts as
	// whole. Default 5 s.
	Stable time.Duration
	// Language of the report's messages: fr, en, or "" (default) for both.
	Language string
}

// Validate reports every problem of f at once. It opens nothing.
func (f Folder) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if f.Path == "" {
		bad("folder: is missing")
	}
	if !scan.ValidToken(f.Site) {
		bad("site: must be 1 to 64 of A-Z a-z 0-9 _ -")
	}
	if !scan.ValidToken(f.Device) {
		bad("device: must be 1 to 64 of A-Z a-z 0-9 _ -")
	}
	if _, err := scan.ParseOp(f.Op); err != nil {
		bad("op: %w", err)
	}
	if f.Entry != "" && f.Entry != string(scan.Scanned) && f.Entry != string(scan.Manual) {
		bad("entry: %q is neither scanned nor manual", f.Entry)
	}
	if !slices.Contains([]string{"", "fr", "en"}, f.Language) {
		bad("language: %q is neither fr nor en", f.Language)
	}
	if f.Poll < 0 || f.Stable < 0 {
		bad("poll and stable: must not be negative")
	}
	return errors.Join(append(errs, f.CSV.Validate())...)
}

// Deps are what a watcher needs.
type Deps struct {
	// Publish stores scans and returns when the stream has them, as queue.Conn's does.
	Publish func(context.Context, []queue.Scan) ([]queue.Ack, error)
	// Import is that of [Defaults].
	Import func(text string) (pack json.RawMessage, ok bool)
	// Read tells that the line will reject a scan; it is stored all the same. May be nil.
	Read func(scan.Event) (reason scan.Reason, text scan.Text, rejected bool)
	// Count is told what became of a file's scans. May be nil.
	Count func(site string, stored, refused int)
	Log   *slog.Logger
}

// Watcher watches one folder. Make one with NewWatcher.
type Watcher struct {
	f    Folder
	deps Deps
	log  *slog.Logger

	step func(string) // told after each step: tests end there

	// owned by Run
	seen map[string]look // files that are not whole yet
	told map[string]bool // troubles that were logged
	memo *memory
}

// look is what a file looked like, and since when.
type look struct {
	size  int64
	mod   time.Time
	since time.Time
}

// maxFile bounds the memory that one file takes.
const maxFile = MaxCSV

// batch is how many scans are out at once.
const batch = 256

// answerTime bounds the wait for the acknowledgements of one batch; after it the file is
// begun again at the next look.
const answerTime = 30 * time.Second

// NewWatcher makes the folder's own folders and reads what it remembers.
func NewWatcher(f Folder, deps Deps) (*Watcher, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	if f.Poll == 0 {
		f.Poll = 2 * time.Second
	}
	if f.Stable == 0 {
		f.Stable = 5 * time.Second
	}
	if _, err := os.Stat(f.Path); err != nil {
		return nil, err // a drive that is not mounted must not be made up
	}
	for _, sub := range []string{"done", "failed", ".decom"} {
		if err := os.MkdirAll(filepath.Join(f.Path, sub), 0o755); err != nil {
			return nil, err
		}
	}
	memo, err := openMemory(filepath.Join(f.Path, ".decom", "files.jsonl"))
	if err != nil {
		return nil, err
	}
	return &Watcher{f: f, deps: deps, seen: map[string]look{}, told: map[string]bool{}, memo: memo, step: func(string) {},
		log: deps.Log.With("folder", f.Path)}, nil
}

// Run looks at the folder until ctx ends. A batch that is out then is waited for.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.memo.close()
	tick := time.NewTicker(w.f.Poll)
	defer tick.Stop()
	for {
		w.Look(ctx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Look looks once and handles every file that is whole. Only Run and tests call it.
func (w *Watcher) Look(ctx context.Context, now time.Time) {
	entries, err := os.ReadDir(w.f.Path) // sorted by name
	if err != nil {
		w.tell("", "the folder cannot be read", err)
		return
	}
	w.told[""] = false
	here := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		if ctx.Err() != nil || !e.Type().IsRegular() || unfinished(name) {
			continue
		}
		here[name] = true
		info, err := e.Info()
		if err != nil {
			continue // gone meanwhile
		}
		if !w.whole(name, info, now) {
			continue
		}
		switch err := w.handle(ctx, name, info); {
		case err == nil:
			delete(w.seen, name)
			w.told[name] = false
		case errors.Is(err, fs.ErrNotExist): // another process has handled it
		default:
			w.tell(name, "a file waits", err)
		}
	}
	for name := range w.seen {
		if !here[name] {
			delete(w.seen, name)
			delete(w.told, name)
		}
	}
}

// tell logs a trouble once, until it is over.
func (w *Watcher) tell(name, what string, err error) {
	if !w.told[name] {
		w.log.Warn("files: "+what, "file", name, "err", err)
	}
	w.told[name] = true
}

// unfinished says that a file is being written, by the names that programs use for that:
// they rename it when it is whole. Ours and hidden files are among them.
func unfinished(name string) bool {
	lower := strings.ToLower(name)
	for _, end := range []string{".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".writing", "~"} {
		if strings.HasSuffix(lower, end) {
			return true
		}
	}
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "~")
}

// whole says whether a file has stayed the same for long enough. An empty one may be
// somebody's first step, and waits ten times as long.
func (w *Watcher) whole(name string, info fs.FileInfo, now time.Time) bool {
	l, known := w.seen[name]
	if !known || l.size != info.Size() || !l.mod.Equal(info.ModTime()) {
		w.seen[name] = look{info.Size(), info.ModTime(), now}
		return false
	}
	need := w.f.Stable
	if info.Size() == 0 {
		need *= 10
	}
	return now.Sub(l.since) >= need
}

// handle takes one whole file to its end. An error leaves it where it is.
func (w *Watcher) handle(ctx context.Context, name string, info fs.FileInfo) error {
	path := filepath.Join(w.f.Path, name)
	if info.Size() > maxFile {
		return w.fail(name, scan.Text{
			FR: fmt.Sprintf("Fichier de plus de %d Mio : rien n'est envoyé ; coupez-le en plusieurs.", maxFile>>20),
			EN: fmt.Sprintf("The file has more than %d MiB: nothing was sent; cut it into several.", maxFile>>20)})
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	hash := hex.EncodeToString(sum[:])
	past := w.memo.files[hash]
	if past.Done != "" {
		return w.again(name, past)
	}
	in, err := w.open(name, data)
	if err != nil {
		why := scan.Text{FR: err.Error(), EN: err.Error()}
		if u, ok := errors.AsType[*Unreadable](err); ok {
			why = u.Text
		}
		return w.fail(name, scan.Text{FR: "Rien n'est envoyé, le fichier n'est pas lisible : " + why.FR, EN: "Nothing was sent, the file cannot be read: " + why.EN})
	}
	if past.Begun == "" {
		// Before the first scan leaves: whatever happens from here on, the lines have these
		// times, and so these ids.
		base := firstLine(info.ModTime(), bytes.Count(data, []byte("\n")))
		if now := time.Now(); base.After(now) {
			base = now // a clock of another machine; the stream's time would replace it
		}
		past = file{Hash: hash, Name: name, Begun: base.UTC().Format(time.RFC3339Nano)}
		if err := w.memo.note(past); err != nil {
			return err
		}
	}
	base, err := time.Parse(time.RFC3339Nano, past.Begun)
	if err != nil {
		return err
	}
	rep := newReport(w.f.Language)
	if err := w.publish(ctx, in, base, rep); err != nil {
		return err
	}
	w.step("published")
	if st, err := os.Stat(path); err != nil || st.Size() != info.Size() || !st.ModTime().Equal(info.ModTime()) {
		return errors.New("the file was written to while it was read: it is read again")
	}
	return w.finish(name, past, rep)
}

// finish writes the report, remembers the file, moves it. A crash between any two of them
// is made good by the next look.
func (w *Watcher) finish(name string, past file, rep *report) error {
	to := w.free("done", name)
	if err := rep.write(to + ".report.csv"); err != nil {
		return err
	}
	w.step("reported")
	past.Done, past.Stored, past.Refused = time.Now().UTC().Format(time.RFC3339), rep.stored, rep.refused
	if err := w.memo.note(past); err != nil {
		return err
	}
	w.step("noted")
	if err := os.Rename(filepath.Join(w.f.Path, name), to); err != nil {
		return err
	}
	if w.deps.Count != nil {
		w.deps.Count(w.f.Site, rep.stored, rep.refused)
	}
	w.log.Info("files: a file is done", "file", name, "stored", rep.stored, "refused", rep.refused, "to_be_rejected", rep.doubtful)
	return nil
}

// again moves a file whose content was sent before.
func (w *Watcher) again(name string, past file) error {
	from, to := filepath.Join(w.f.Path, name), w.free("done", name)
	if _, err := os.Stat(filepath.Join(w.f.Path, "done", name)); name == past.Name && errors.Is(err, fs.ErrNotExist) {
		return os.Rename(from, filepath.Join(w.f.Path, "done", name)) // our own, left by a crash: its report is there
	}
	rep := newReport(w.f.Language)
	rep.whole(scan.Text{
		FR: fmt.Sprintf("Ce contenu a déjà été envoyé le %s (fichier %s) : rien n'est envoyé de nouveau.", past.Done, past.Name),
		EN: fmt.Sprintf("This content was sent on %s already (file %s): nothing is sent again.", past.Done, past.Name)})
	if err := rep.write(to + ".report.csv"); err != nil {
		return err
	}
	w.log.Info("files: a file was sent before, nothing is sent", "file", name, "sent", past.Done, "as", past.Name)
	return os.Rename(from, to)
}

// fail moves a file that can be nothing, with the reason.
func (w *Watcher) fail(name string, why scan.Text) error {
	to := w.free("failed", name)
	rep := newReport(w.f.Language)
	rep.whole(why)
	if err := rep.write(to + ".report.csv"); err != nil {
		return err
	}
	w.log.Warn("files: a file cannot be read, nothing of it was sent", "file", name, "why", why.EN)
	return os.Rename(filepath.Join(w.f.Path, name), to)
}

// free finds a name in a folder of ours that no other file has.
func (w *Watcher) free(sub, name string) string {
	ext := filepath.Ext(name)
	for n := 1; ; n++ {
		try := filepath.Join(w.f.Path, sub, name)
		if n > 1 {
			try = filepath.Join(w.f.Path, sub, fmt.Sprintf("%s.%d%s", strings.TrimSuffix(name, ext), n, ext))
		}
		if _, err := os.Lstat(try); errors.Is(err, fs.ErrNotExist) {
			return try
		}
	}
}

// open finds out how the file is to be read.
func (w *Watcher) open(name string, data []byte) (Input, error) {
	if len(data) == 0 {
		return nil, unreadable("il est vide", "it is empty")
	}
	if w.f.Table || strings.EqualFold(filepath.Ext(name), ".csv") {
		return NewCSV(bytes.NewReader(data), w.f.CSV)
	}
	if utf16 := bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}); !utf16 && w.f.CSV.Encoding == "" {
		return NewLines(bytes.NewReader(data)), nil // each line finds its encoding
	}
	text, err := decode(data, w.f.CSV.Encoding)
	if err != nil {
		return nil, err
	}
	return NewLines(strings.NewReader(text)), nil
}

// publish stores the file's scans in order and reports each line. A row that is no scan
// stops no other; a queue that does not acknowledge stops the file.
func (w *Watcher) publish(ctx context.Context, in Input, base time.Time, rep *report) error {
	d := Defaults{Site: w.f.Site, Device: w.f.Device, Op: w.f.Op, Entry: w.f.Entry, Import: w.deps.Import,
		Clock: Clock{Base: base, Fixed: true, Now: time.Now}}
	var events []Event
	flush := func() error {
		if len(events) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		scans := make([]queue.Scan, len(events))
		for i, ev := range events {
			scans[i] = queue.Scan{Site: ev.Site, Device: ev.Device, ID: messageID(ev), Body: ev.Body}
		}
		out, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
		defer cancel()
		acks, err := w.deps.Publish(out, scans)
		for i := range scans {
			if i >= len(acks) || acks[i].Seq == 0 {
				return fmt.Errorf("line %d is not known to be stored; the file is sent again, under the same ids: %w", events[i].Line, err)
			}
			w.line(rep, events[i], acks[i])
		}
		events = events[:0]
		w.step("batch")
		return nil
	}
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return err
		}
		if e.Empty {
			continue
		}
		ev, err := d.Complete(e)
		if err == nil && (ev.Site != w.f.Site || ev.Device != w.f.Device) {
			err = &scan.Malformed{Field: "site", Why: "this folder is for " + w.f.Site + "/" + w.f.Device}
		}
		if err != nil {
			rep.refuse(e.Line, err)
			continue
		}
		if events = append(events, ev); len(events) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// messageID tells copies of one event apart from another device's events with its id.
func messageID(ev Event) string {
	sum := sha256.Sum256(ev.Body)
	return ev.Site + "/" + ev.Device + "/" + ev.ID + "/" + hex.EncodeToString(sum[:6])
}

func (w *Watcher) line(rep *report, ev Event, ack queue.Ack) {
	if w.deps.Read != nil {
		if reason, text, rejected := w.deps.Read(ev.Decoded); rejected {
			rep.doubt(ev, ack, reason, text)
			return
		}
	}
	rep.store(ev, ack)
}
