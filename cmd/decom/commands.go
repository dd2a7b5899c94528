package main

import "github.com/spf13/cobra"

// commands lists the sub-commands, in the order of the help text. A command
// that is not built yet is not here.
func commands() []func(*app) *cobra.Command {
	return []func(*app) *cobra.Command{
		newRunCommand,
		newDemoCommand,
		newPublishCommand,
		newGatewayCommand,
		newConsolidatedCommand,
		newDeviceCommand,
		newBatchCommand,
		newSimCommand,
		newSetupCommand,
		newStatusCommand,
		newTopCommand,
		newTapCommand,
		newDoctorCommand,
		newPackCommand,
		newPauseCommand,
		newResumeCommand,
		newTuneCommand,
		newVerifyFirstCommand,
		newReviewCommand,
		newLedgerCommand,
		newReportCommand,
		newExplainCommand,
		newBenchCommand,
		newConfigCommand,
	}
}
