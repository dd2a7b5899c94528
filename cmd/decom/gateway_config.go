package main

import (
	"cmp"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"decom/queue/doors/files"
	httpdoor "decom/queue/doors/http"
	"decom/queue/doors/wwks2"
	"decom/ratelimit"
)

// DoorsConfig opens doors for senders that do not speak NATS. Each door that is
// configured is open in decom run, and in decom gateway.
type DoorsConfig struct {
	HTTP HTTPDoorConfig `yaml:"http"`
	// Files are watched folders (go doc ./queue/doors/files).
	Files []FolderDoorConfig `yaml:"files"`
	// WWKS2 are robots that are listened to (go doc ./queue/doors/wwks2).
	WWKS2 []RobotDoorConfig `yaml:"wwks2"`
	// Consolidated are the places where a scanned label is the receipt of a delivery
	// (go doc ./queue/doors/consolidated).
	Consolidated []ReceiptDoorConfig `yaml:"consolidated"`
	// MQTT is NATS's own MQTT 3.1.1 listener.
	MQTT MQTTDoorConfig `yaml:"mqtt"`
}

// FolderDoorConfig is one watched folder.
type FolderDoorConfig struct {
	// Folder must be there: a drive that is not mounted must not be made up.
	Folder string `yaml:"folder" path:"true"`
	// Site and Device of every scan in it.
	Site   string `yaml:"site"`
	Device string `yaml:"device"`
	// Op and Entry of lines that do not say. Default supply, scanned.
	Op    string `yaml:"op"`
	Entry string `yaml:"entry"`
	// Table says that every file is a table; else those named .csv are.
	Table bool `yaml:"table"`
	// Separator, Encoding and Columns of tables. Default: found out.
	Separator string   `yaml:"separator"`
	Encoding  string   `yaml:"encoding"`
	Columns   []string `yaml:"columns"`
	// Poll is the time between two looks. Default 2 s.
	Poll time.Duration `yaml:"poll"`
	// Stable is how long a file must stay the same before it is whole. Default 5 s.
	Stable time.Duration `yaml:"stable"`
	// Language of the report: fr, en; default both.
	Language string `yaml:"language"`
}

// RobotDoorConfig is one robot: robot, or listen and upstream.
type RobotDoorConfig struct {
	// Robot is host:port of a robot that is listened to beside the stock system; 6050 is usual.
	Robot string `yaml:"robot"`
	// Listen and Upstream put decom in line: the stock system connects to listen, and every byte
	// goes on to the robot at upstream and back, unchanged.
	Listen   string `yaml:"listen"`
	Upstream string `yaml:"upstream"`
	Site     string `yaml:"site"`
	Device   string `yaml:"device"`
	// Mode says which packs become scans: goods-in, robot-input or exit. Default: that of the
	// device's profile (devices).
	Mode string `yaml:"mode"`
	// Subscriber is our number among the robot's clients. Default 990.
	Subscriber string `yaml:"subscriber"`
}

// HTTPDoorConfig is the door for senders that speak HTTP (go doc ./queue/doors/http).
type HTTPDoorConfig struct {
	// Listen is host:port, beside http.listen. Empty (default) = no such door.
	Listen string `yaml:"listen"`
	// Tokens is the file with the devices' tokens; decom gateway token makes one.
	Tokens string `yaml:"tokens" path:"true"`
	// CertificateFile and KeyFile (PEM) turn TLS on. Empty: none, which is for the
	// loopback address and for a proxy in front.
	CertificateFile string `yaml:"certificate_file" path:"true"`
	KeyFile         string `yaml:"key_file" path:"true"`
	// Rate is how many scans one device may send. Default 50/s.
	Rate string `yaml:"rate"`
	// MaxBody is the size of one request in bytes. Default 1048576.
	MaxBody int `yaml:"max_body"`
	// Patience is how long the stream's acknowledgement is waited for. Default 5 s.
	Patience time.Duration `yaml:"patience"`
}

// defaultDoors is what counts where no layer says otherwise.
func defaultDoors() DoorsConfig {
	return DoorsConfig{HTTP: HTTPDoorConfig{Rate: "50/s", MaxBody: 1 << 20, Patience: 5 * time.Second}, MQTT: MQTTDoorConfig{Rate: "50/s"}}
}

// open says whether any door is configured.
func (d *DoorsConfig) open() bool {
	return d.HTTP.Listen != "" || len(d.Files)+len(d.WWKS2)+len(d.Consolidated) > 0
}

// doors checks the section. Files are looked at by those who are going to open doors.
func (k *checker) doors() {
	k.httpDoor()
	k.mqttDoor()
	folders := map[string]int{}
	for i, f := range k.c.Doors.Files {
		prefix := "doors.files." + strconv.Itoa(i)
		k.each(prefix, f.folder().Validate(), "folder", "site", "device", "op", "entry", "language", "separator", "encoding", "columns")
		if first, twice := folders[f.Folder]; twice && f.Folder != "" {
			k.bad(prefix+".folder", "%s is watched by doors.files.%d already", f.Folder, first)
		}
		folders[f.Folder] = i
		if st, err := os.Stat(f.Folder); k.need&needDoors != 0 && f.Folder != "" && (err != nil || !st.IsDir()) {
			k.bad(prefix+".folder", "there is no folder %s: make it, or mount its drive", f.Folder)
		}
	}
	k.robots()
	k.receipts()
}

func (k *checker) robots() {
	devices, places := map[string]int{}, map[string]int{}
	for i, r := range k.c.Doors.WWKS2 {
		prefix := "doors.wwks2." + strconv.Itoa(i)
		k.each(prefix, r.listener(&k.c.Config).Validate(), "robot", "listen", "upstream", "site", "device", "mode", "subscriber")
		if profile := k.c.profiles().Of(r.Site, r.Device).Mode; r.Mode != "" && profile != "" && r.Mode != profile {
			k.bad(prefix+".mode", "is %s, and the profile of %s/%s (devices) says %s: give it in one place", r.Mode, r.Site, r.Device, profile)
		}
		if first, twice := devices[r.Site+"/"+r.Device]; twice {
			k.bad(prefix+".device", "%s/%s is that of doors.wwks2.%d already: a robot has a device of its own", r.Site, r.Device, first)
		}
		devices[r.Site+"/"+r.Device] = i
		if _, port, _ := net.SplitHostPort(r.Listen); r.Listen == "" || port == "0" {
			continue
		}
		if first, twice := places[r.Listen]; twice {
			k.bad(prefix+".listen", "%s is that of doors.wwks2.%d already: each robot has a port of its own", r.Listen, first)
		}
		places[r.Listen] = i
	}
}

// each tells every problem that a package found, at the key that its sentence begins with.
func (k *checker) each(prefix string, err error, keys ...string) {
	if err == nil {
		return
	}
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range list.Unwrap() {
			k.each(prefix, e, keys...)
		}
		return
	}
	word, rest, _ := strings.Cut(err.Error(), " ")
	if key := strings.TrimSuffix(word, ":"); slices.Contains(keys, key) {
		k.bad(prefix+"."+key, "%s", strings.TrimSpace(rest))
		return
	}
	k.bad(prefix, "%v", err)
}

// folder is the watched folder as the package takes it.
func (f FolderDoorConfig) folder() files.Folder {
	sep, _ := utf8.DecodeRuneInString(f.Separator)
	if f.Separator == "" {
		sep = 0
	} else if f.Separator == `\t` || f.Separator == "tab" {
		sep = '\t'
	} else if utf8.RuneCountInString(f.Separator) > 1 {
		sep = utf8.RuneError
	}
	return files.Folder{
		Path: f.Folder, Site: f.Site, Device: f.Device, Op: f.Op, Entry: f.Entry, Table: f.Table, Poll: f.Poll, Stable: f.Stable,
		Language: f.Language, CSV: files.CSVOptions{Separator: sep, Encoding: f.Encoding, Columns: f.Columns},
	}
}

// listener is the robot's door as the package takes it.
func (r RobotDoorConfig) listener(c *Config) wwks2.Config {
	mode := cmp.Or(r.Mode, c.profiles().Of(r.Site, r.Device).Mode)
	return wwks2.Config{
		Robot: r.Robot, Listen: r.Listen, Upstream: r.Upstream, Site: r.Site, Device: r.Device, Mode: wwks2.Mode(mode), Subscriber: r.Subscriber,
		Spool: filepath.Join(c.Dir, "doors", "wwks2-"+r.Site+"-"+r.Device+".jsonl"),
	}
}

func (k *checker) httpDoor() {
	h := &k.c.Doors.HTTP
	if h.MaxBody < 64<<10 || h.MaxBody > 64<<20 {
		k.bad("doors.http.max_body", "%d: must be 65536 to 67108864 bytes; one event may have 65536", h.MaxBody)
	}
	if h.Patience <= 0 {
		k.bad("doors.http.patience", "%s: must be more than 0", plainDuration(h.Patience))
	}
	k.tokenDoor("doors.http.", tokenDoor{
		listen: h.Listen, tokens: h.Tokens, certificate: h.CertificateFile, key: h.KeyFile, rate: h.Rate,
		taken: map[string]string{"http.listen": k.c.HTTP.Listen},
	})
}

// tokenDoor is what doors have in common to whose address devices come with a token.
type tokenDoor struct {
	listen, tokens, certificate, key, rate string
	taken                                  map[string]string // addresses of others, by key
}

// tokenDoor checks one. Files are looked at by those who are going to open it.
func (k *checker) tokenDoor(prefix string, d tokenDoor) {
	if _, err := ratelimit.ParseRate(d.rate); err != nil {
		k.bad(prefix+"rate", "%v", spokenRate(d.rate, err))
	}
	if (d.certificate == "") != (d.key == "") {
		k.bad(prefix+"key_file", "certificate_file and key_file go together: give both or none")
	}
	if d.listen == "" {
		return
	}
	k.address(prefix+"listen", d.listen)
	for _, other := range slices.Sorted(maps.Keys(d.taken)) {
		if _, port, _ := net.SplitHostPort(d.listen); d.listen == d.taken[other] && port != "0" {
			k.bad(prefix+"listen", "%q is %s already: give the door a port of its own", d.listen, other)
		}
	}
	if d.tokens == "" {
		k.bad(prefix+"tokens", "is missing: make the file with decom gateway token --file FILE --site SITE --device DEVICE")
	}
	if d.certificate == "" && !loopbackAddress(d.listen) {
		k.warn("%slisten %s without certificate_file: tokens and serials cross the network in the clear", prefix, d.listen)
	}
	if k.need&needDoors == 0 {
		return
	}
	k.file(prefix+"certificate_file", d.certificate)
	k.file(prefix+"key_file", d.key)
	if k.file(prefix+"tokens", d.tokens) {
		if err := httpdoor.CheckTokens(d.tokens); err != nil {
			k.bad(prefix+"tokens", "%v", err)
		}
	}
}

// httpDoorConfig is the door's part of a loaded configuration.
func (c *Config) httpDoorConfig() (httpdoor.Config, error) {
	h := c.Doors.HTTP
	rate, err := ratelimit.ParseRate(h.Rate)
	return httpdoor.Config{
		Listen: h.Listen, TokensFile: h.Tokens, CertFile: h.CertificateFile, KeyFile: h.KeyFile,
		Rate: rate, MaxBody: int64(h.MaxBody), Patience: h.Patience,
	}, err
}
