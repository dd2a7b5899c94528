// Package scan holds the words of decom: a scan event, the pack it names, the
// operation it asks for, and the outcome it gets.
//
// Everything here is a value. Nothing in the package blocks, logs, or keeps
// state, so every function may be called from any goroutine. Packs and events
// are made by decoding only ([Decode], [NewPack]); holding one means that its
// fields were checked. Errors are *[Malformed].
package scan
