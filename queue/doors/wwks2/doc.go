// Package wwks2 listens to a storage robot that speaks WWKS 2 (BD Rowa and others) and
// makes scan events of the packs that enter or leave it.
//
// [Listener] is a passive client, or stands in line. The passive client connects, says
// Hello, answers KeepAlive, and for the rest only hears what the robot tells all its
// clients. It answers no request that is the stock system's, so the robot never waits for
// it.
//
// In line it takes the stock system's connections and passes each one on to the robot:
// every byte, both ways, unchanged, as it comes, half-closes and resets as well. It says
// nothing itself. The reader has a copy. Nothing of ours holds the bytes up: not NATS, not a
// document that cannot be read, nor a panic of the reader, nor a full disk; a disk that hangs
// costs the robot 20 ms, once. Each such thing is a [Trouble]; the log has a kind of them once a
// minute, with how many it left out.
//
// # What becomes a scan
//
// In mode exit the packs of OutputMessage, whatever its status: those that it lists have
// left. In the modes robot-input and goods-in the packs of InputMessage that are stored
// (Handling Input="Completed") and new (IsNewDelivery="True"); a pack that comes back is
// known already. goods-in takes those of a delivery with a number only. An opened box
// (SubItemQuantity above 0) that comes back is never new; one that leaves is.
//
// The ScanCode is what counts. It is sent as it is, but for control characters, which WWKS 2
// writes as \x1D; what is no pack gets its public rejection from the line. Attributes
// are compared, never sent: batch and serial must be those of the code, the expiry's month
// too where the robot read it (its other sources, AutoCalculated and the like, prove
// nothing). A pack whose attributes contradict its code is sent without the code and with
// what was read (event field conflict), so that it is rejected in public, rejected/conflict,
// with code and attributes in its message, and never called for.
//
// # Nothing lost, nothing twice
//
// The id is a hash of robot, kind of message, message id, pack id and code: what the robot
// tells again, after BoxReleased as Completed or after a reconnect, is the same scan. What
// was heard is synced to a spool before anything else, and leaves it when the stream has
// it. What the robot says while nobody listens is lost to this door: reconcile by stock.
//
// In line a document that tells of packs is written to the spool before it goes on, and
// synced after: a death of the process loses none that the stock system has got, a power
// cut at most the last moment's. What the disk refuses is kept in memory until the stream
// has it; documents that cannot be read are put aside in SPOOL.unread.
//
// # The stream
//
// Documents follow each other without lengths; several come in one packet and one in
// several. They are cut at their end tag and read one by one, so that a malformed one costs
// itself only. One above 1 MiB is skipped.
//
// Listener.Run owns all its goroutines and ends with its context.
package wwks2
