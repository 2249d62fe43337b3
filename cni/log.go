package main

import (
	"io"
	"os"
	"syscall"

	"github.com/sirupsen/logrus"
)

// newLog opens the plugin's log: the file, or standard error where no file is
// given or it cannot be opened. Standard output is the protocol's. The level
// has been checked by the configuration.
func newLog(file, level string) (*logrus.Logger, io.Closer) {
	l := logrus.New()
	l.SetOutput(os.Stderr)
	l.SetLevel(logLevel(level))
	l.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	if file == "" {
		return l, io.NopCloser(nil)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o640) //nolint:gosec // the operator names the file; a link or FIFO in its place is not followed
	if err != nil {
		l.WithField("err", err).Warn("log file cannot be opened, logging to standard error")
		return l, io.NopCloser(nil)
	}
	l.SetOutput(f)
	return l, f
}

// logLevel reads logrus' level names and the Userspace CNI's verbose.
func logLevel(s string) logrus.Level {
	if s == "verbose" {
		return logrus.TraceLevel
	}
	level, err := logrus.ParseLevel(s)
	if err != nil {
		return logrus.InfoLevel
	}
	return level
}
