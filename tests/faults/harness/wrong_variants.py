"""Wrong variants of the core: mistakes that are easily made, each with the tests that must find it.

A variant is one text of one module and what a mistake would make of it. The text is short, so that
it outlives changes around it. Its test runs in one process, for a process that it starts would have
the package without the mistake; and it fails within a second or two.
"""

from __future__ import annotations

from typing import NamedTuple


class Variant(NamedTuple):
    """One mistake: `right`, a text of `module`, is replaced by `wrong`, and then `test` must fail.

    `test` is a name below tests/. Without a parameter, one of its cases must fail.
    """

    module: str
    what: str
    right: str
    wrong: str
    test: str

    @property
    def name(self) -> str:
        """The variant as the name of a test."""
        return f"{self.module.removesuffix('.py')}: {self.what}"


_v = Variant
RETRY = "unit/test_retry.py::test_"
BACKLOG = "unit/test_backlog.py::test_"
CLAIM = "spool/test_claim.py::test_"
RECOVER = "spool/test_recover.py::test_"
PUBLISH = "spool/test_publish.py::test_"
HOOKS = "spool/test_hook_recovery.py::test_"
TREE = "spool/test_tree.py::test_"
WORKER = "spool/test_worker.py::test_"
STARTED = "spool/test_after_start.py::test_"
DURABLE = "spool/test_durable.py::test_"
READING = "spool/test_reading.py::test_"
SURVIVORS = "spool/test_survivors.py::test_"
WAITING = "spool/test_waiting.py::test_"

RECORD = [
    _v("record/retry.py", "one retry too few", "attempts > limit", "attempts >= limit",
       f"{RETRY}a_job_that_always_fails_runs_once_more_than_it_is_retried"),
    _v("record/retry.py", "no cap on the backoff", "min(delay, policy.backoff_max)", "delay",
       f"{RETRY}the_wait_grows_to_the_cap"),
    _v("record/retry.py", "jitter lengthens the wait", "1 - policy.backoff_jitter",
       "1 + policy.backoff_jitter",
       f"{RETRY}jitter_only_ever_shortens_the_wait_and_by_no_more_than_its_part"),
    _v("record/retry.py", "lost attempts do not count", '"interrupted", "cancelled")',
       '"interrupted", "cancelled", "lost")', f"{RETRY}an_attempt_that_is_over_is_entered"),
    _v("record/retry.py", "the time of a retry is kept", 'changes["run_at"] = None', "pass",
       f"{RETRY}the_time_of_a_retry_does_not_outlive_the_retry"),
    _v("record/job.py", "the older history is dropped", "[*older, entry]", "[entry]",
       "unit/test_rewrites.py::test_the_older_entries_of_a_history_keep_what_is_not_ours"),
    _v("record/job.py", "no limit on the size", ") > MAX_JOB_BYTES:", ") > MAX_RECORD_BYTES:",
       "unit/test_job.py::test_a_job_file_has_at_most_a_mebibyte"),
    _v("record/job.py", "a job is due too early", "parse_timestamp(self.run_at) <= now", "True",
       f"{WORKER}a_job_that_is_put_off_as_it_is_claimed_waits"),
    _v("record/ids.py", "a numbered id is too long", "job_id[: 100 - len(suffix)]", "job_id",
       f"{CLAIM}a_numbered_id_is_no_longer_than_an_id_may_be"),
    _v("record/ids.py", "any text is an id", "if not is_id(text):", "if not text:",
       "unit/test_layout.py::test_what_is_no_id_never_becomes_a_path"),
    _v("record/running.py", "a pid is written over a shorter text", ' + b"\\n" * missing', "",
       "unit/test_running.py::test_a_run_file_is_valid_once_any_pid_is_written_over_it"),
    _v("record/hook_event.py", "a cancelled job is an event",
       'target == "dead" and not cancelled', 'target == "dead"',
       "unit/test_hook_event.py::test_a_job_that_ends_by_itself_is_an_event"),
    _v("record/outcome.py", "a timeout with exit status 0 is ok", 'outcome="timeout"',
       'outcome="ok"', f"{STARTED}a_timeout_holds_though_the_end_cannot_be_waited_for"),
]  # fmt: skip

DISK = [
    _v("disk/durable.py", "a file is not fsynced", "self._force(fd, path)", "pass",
       f"{PUBLISH}file_then_name_reach_the_disk_before_it_is_acknowledged"),
    _v("disk/durable.py", "a name is not fsynced", "self.commit(os.path.dirname(target))", "pass",
       f"{PUBLISH}file_then_name_reach_the_disk_before_it_is_acknowledged"),
    _v("disk/durable.py", "the files of a batch are not fsynced", "self._sync_files(written)",
       "pass", "spool/test_batch.py::test_a_batch_reaches_the_disk_before_it_is_acknowledged"),
    _v("disk/durable.py", "the names of a batch are not fsynced",
       "self.commit(*reversed(dict.fromkeys(reversed(changed))))", "pass",
       "spool/test_batch.py::test_a_batch_reaches_the_disk_before_it_is_acknowledged"),
    _v("disk/durable.py", "a removal is not fsynced",
       "discard(path)\n        self.commit(os.path.dirname(path))", "discard(path)",
       f"{HOOKS}the_removal_of_a_false_marker_is_on_disk_before_its_job_moves"),
    _v("disk/durable.py", "the old directory is fsynced first",
       "[os.path.dirname(target), os.path.dirname(source)]",
       "[os.path.dirname(source), os.path.dirname(target)]",
       "spool/test_settle.py::test_the_target_reaches_the_disk_before_the_source"),
    _v("disk/durable.py", "one log is taken for granted", "if self.on.has_one_log else dict",
       "if True else dict", f"{DURABLE}only_where_one_log_orders_them_is_a_directory_left_out"),
    _v("disk/durable.py", "the target of a move waits", "else len(directories) - 1", "else 0",
       f"{DURABLE}only_where_one_log_orders_them_is_a_directory_left_out"),
    _v("disk/renames.py", "a rename overwrites", "_RENAME_NOREPLACE = 1", "_RENAME_NOREPLACE = 0",
       f"{PUBLISH}publishing_never_overwrites_a_file_that_is_dropped_meanwhile"),
    _v("disk/durable.py", "a failed fsync is not reported",
       "raise NotDurable(f\"{path}: cannot be made durable: {error.strerror}\") from error\n\n\n"
       "def _moved", "return\n\n\ndef _moved",
       f"{PUBLISH}a_job_that_cannot_be_made_durable_is_not_acknowledged"),
    _v("disk/durable.py", "a short write is taken for a whole one",
       "view = view[os.write(fd, view) :]", "os.write(fd, view)\n        return",
       f"{PUBLISH}short_writes_are_no_error"),
    _v("disk/renames.py", "a link that was made is taken for another's",
       "except OSError:\n        if not same_file(source, target):\n            raise",
       "except OSError:\n        raise",
       "spool/test_two_names.py::test_a_job_whose_link_was_done_but_answered_an_error_is_published"),
    _v("disk/durable.py", "the umask decides about modes", "if mode & 0o077 and (",
       "if False and (",
       "spool/test_open.py::test_modes_are_what_the_spool_grants_whatever_the_umask"),
    _v("disk/reading.py", "links are followed",
       "os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)\n    except OSError:\n        _check",
       "os.O_NONBLOCK | os.O_CLOEXEC)\n    except OSError:\n        _check",
       f"{READING}a_link_is_not_followed_and_a_fifo_does_not_block"),
    _v("disk/reading.py", "writers are not noticed", "return error.errno == errno.EAGAIN",
       "return False",
       f"{READING}a_file_has_a_writer_while_it_is_open_for_writing"),
    _v("disk/reading.py", "no limit on what is read", "min(found.st_size, limit) + 1",
       "found.st_size + 1",
       f"{READING}no_more_is_read_of_a_file_than_one_byte_above_the_limit"),
    _v("disk/reading.py", "a stamp is believed too early", "earlier.is_final and ", "",
       f"{READING}a_listing_holds_only_if_no_change_can_have_the_same_time"),
    _v("disk/locks.py", "a new lock file is not locked",
       "fcntl.flock(fd, fcntl.LOCK_EX)\n        rename", "rename",
       "spool/test_locks.py::test_a_lock_that_is_held_is_not_had_twice"),
    _v("disk/locks.py", "a lock is had by everyone",
       "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n        if", "if",
       f"{RECOVER}the_claims_of_a_living_holder_are_left_alone"),
    _v("disk/locks.py", "the lock of a replaced file counts",
       "if os.path.samestat(os.lstat(path), os.fstat(fd)):", "if True:",
       "spool/test_locks.py::test_the_lock_of_a_file_that_has_lost_its_name_is_none[replaced]"),
]  # fmt: skip

PROCESS = [
    _v("process/spawn.py", "no session of its own", "_SETSIGDEF | _SETSID", "_SETSIGDEF",
       f"{WORKER}a_command_leads_a_session_and_a_group_of_its_own"),
    _v("process/spawn.py", "the run file is not passed", "*([inherited] if inherited else [])", "",
       f"{WORKER}a_command_gets_no_descriptor_of_ours_but_its_run_file"),
    _v("process/spawn.py", "the worker's stdin is passed", 'actions, 0, b"/dev/null"',
       'actions, 3, b"/dev/null"', f"{WORKER}a_command_reads_nothing"),
    _v("process/spawn.py", "a look reaps the command",
       "os.WEXITED | os.WNOWAIT | os.WNOHANG", "os.WEXITED | os.WNOHANG",
       f"{STARTED}a_look_at_a_command_that_has_ended_does_not_reap_it"),
    _v("process/spawn.py", "SIGPIPE stays ignored", "(signal.SIGPIPE, signal.SIGXFSZ)",
       "(signal.SIGXFSZ,)", f"{WORKER}a_broken_pipe_ends_a_command"),
    _v("process/survivors.py", "no SIGKILL", "_signal(running, signal.SIGKILL)", "pass",
       f"{SURVIVORS}a_process_that_ignores_sigterm_is_killed_after_the_grace"),
    _v("process/survivors.py", "the environment is not looked at",
       "or _has_variable(pid, marks.variable)", "",
       f"{SURVIVORS}a_process_is_found_by_its_environment_alone"),
    _v("process/survivors.py", "descriptors are not looked at",
       "or (link and _has_open(pid, link))", "",
       f"{SURVIVORS}a_process_is_found_by_its_descriptor_alone"),
    _v("process/survivors.py", "the rest of a group is not looked at",
       "{groups[pid] for pid in marked} - {os.getpgrp(), 0}", "set()",
       f"{SURVIVORS}the_whole_group_of_a_process_that_is_found_is_found"),
    _v("process/survivors.py", "the run file's lock is ignored",
       "if not running and not is_held:", "if not running:",
       f"{SURVIVORS}a_run_whose_lock_is_held_is_not_over_though_nobody_is_found"),
    _v("process/survivors.py", "readers of the run file are ended",
       "& os.O_ACCMODE != os.O_RDONLY", "& os.O_ACCMODE >= 0",
       f"{TREE}who_only_reads_the_run_file_is_not_ended_with_the_command"),
    _v("process/survivors.py", "what cannot be looked at is gone",
       'if trouble.owner(error) == "process":', "if False:",
       f"{STARTED}what_cannot_be_looked_for_is_not_taken_for_gone"),
    _v("process/waiting.py", "a timeout is no end", 'return "timeout"', "return None",
       f"{WAITING}a_wait_ends_with_the_timeout"),
    _v("process/waiting.py", "a stop is not forgotten",
       "self.reason = None\n                self", "self",
       f"{WAITING}a_wait_ends_with_the_first_reason_and_the_next_begins_without"),
]  # fmt: skip

SPOOL = [
    _v("spool/publish.py", "a batch does not take the lock on ids", "_id_lock(spool, bool(chosen))",
       "_id_lock(spool, False)",
       f"{PUBLISH}a_chosen_id_is_looked_for_and_published_under_one_lock[in a batch]"),
    _v("spool/publish.py", "a taken id is not looked for",
       "if unique:\n                _refuse_taken", "if False:\n                _refuse_taken",
       f"{PUBLISH}an_id_that_stands_in_any_state_is_refused"),
    _v("spool/claims.py", "a claim is not committed", "self._disk.commit(*owed, *taken.changed)",
       "pass", f"{CLAIM}a_claim_that_is_not_durable_is_given_back"),
    _v("spool/claims.py", "rivals are not looked at", 'if end == "json" and', "if not end and",
       f"{CLAIM}a_claim_yields_its_id_to_one_that_another_holder_has"),
    _v("spool/claims.py", "numbers begin with 1",
       "number, job_id = 1, wanted\n    while not all(",
       "number, job_id = 0, wanted\n    while not all(",
       f"{CLAIM}a_dropped_job_whose_id_is_taken_gets_the_next_number"),
    _v("spool/claims.py", "a job that still runs is claimed", "if self._reader.is_running(",
       "if not self._reader.is_running(", f"{CLAIM}a_job_that_still_runs_is_not_claimed"),
    _v("spool/claims.py", "what was seen before the claim is run",
       "return found if (found.id, found.attempts) ==", "return found if found or () ==",
       f"{CLAIM}a_job_that_has_had_another_attempt_meanwhile_is_left_to_be_looked_at_again"),
    _v("spool/claims.py", "a failed job yields its id",
       "UNCLAIMED if all_own else UNCLAIMED[:-1]", "UNCLAIMED",
       f"{CLAIM}a_failed_job_keeps_its_id_though_another_is_dropped_under_it"),
    _v("spool/claims.py", "a claim is put back to the wrong state",
       "self._put_back(claim.path, claim.origin, claim.id)",
       'self._put_back(claim.path, "pending", claim.id)',
       f"{CLAIM}a_claim_that_is_released_goes_back_to_where_it_was"),
    _v("spool/claims.py", "the record is not written",
       "self._disk.renew(claim.path, record.encode(), staged=self._layout.staged())", "pass",
       "spool/test_settle.py::test_a_settled_job_stands_in_its_state_with_its_history"),
    _v("spool/claims.py", "a lost claim is settled", "self._disk.renew(", "self._disk.overwrite(",
       "spool/test_settle.py::test_a_claim_that_is_gone_is_lost_and_nothing_is_made_of_it"),
    _v("spool/claims.py", "the later of two names goes", "return min(one, other",
       "return max(one, other",
       "spool/test_two_names.py::test_of_two_names_in_two_states_repair_removes_the_earlier"),
    _v("spool/holder.py", "claims of the living are recovered",
       "if lock is None:\n            continue", "if lock is None:\n            lock = os.dup(0)",
       f"{RECOVER}the_claims_of_a_living_holder_are_left_alone"),
    _v("spool/holder.py", "a missing lock is not made", "make_with=None if name in locks else",
       "make_with=None if True else", f"{RECOVER}claims_whose_lock_file_is_gone_are_recovered"),
    _v("spool/recovery.py", "processes are not ended",
       "if not ends(place):", "if False:",
       f"{RECOVER}an_attempt_is_not_lost_before_its_processes_have_ended"),
    _v("spool/recovery.py", "what runs elsewhere is taken for over",
       "is_over = not is_locked(path)", "is_over = True",
       f"{RECOVER}what_runs_on_another_host_or_in_another_pid_namespace_is_waited_for"),
    _v("spool/recovery.py", "a cancel is ignored",
       '"cancelled" if cancels.is_requested(spool.layout, place) else "lost"', '"lost"',
       f"{RECOVER}a_cancel_that_nobody_heeded_is_heeded"),
    _v("spool/recovery.py", "a written outcome is not believed",
       "if len(job.history) >= place.attempt:", "if len(job.history) > place.attempt:",
       f"{RECOVER}an_outcome_that_is_written_is_only_moved_on"),
    _v("spool/recovery.py", "another job is taken for the claim's result",
       "entry.worker == place.worker and ", "",
       f"{RECOVER}a_claim_goes_only_if_its_own_result_is_in_a_later_state"),
    _v("spool/recovery.py", "a lost attempt does not tell by whom", "worker=place.worker,", "",
       f"{RECOVER}a_lost_attempt_is_told_in_full"),
    _v("spool/recovery.py", "false markers stay", "hook_recovery.withdraw(spool, place, claim.job)",
       "pass", f"{HOOKS}the_removal_of_a_false_marker_is_on_disk_before_its_job_moves"),
    _v("spool/hook_recovery.py", "markers are removed before they are taken over",
       "finished.append(name)",
       "finished.append(name)\n            hook_markers.remove(spool, dead, name)",
       f"{HOOKS}markers_that_cannot_be_taken_over_stay_with_the_dead"),
    _v("spool/hook_markers.py", "a marker is not durable",
       "spool.write_beside(spool.layout.hook(worker", "spool.disk.write(spool.layout.hook(worker",
       "spool/test_hooks.py::test_a_marker_is_on_disk_before_its_event"),
    _v("spool/by_hand.py", "a retry keeps its attempts", "evolve(attempts=0, ", "evolve(",
       "spool/test_queue.py::test_a_job_that_is_retried_starts_anew_with_its_history"),
    _v("spool/retention.py", "one job too many is removed", "rank < excess", "rank <= excess",
       "unit/test_retention.py::test_the_kept_files_are_new_enough_and_not_too_many"),
    _v("spool/retention.py", "a job that came back is removed", "== when:", "is not None:",
       "spool/test_retention.py::test_a_chosen_job_that_was_retried_and_came_back_is_kept"),
    _v("spool/purge.py", "logs stay", "yield spool.layout.log(place.id, entry.attempt)", "pass",
       "spool/test_queue.py::test_a_purge_removes_what_is_old_enough_with_its_logs"),
    _v("spool/reader.py", "files of strangers are run", "if self.trusted_owners is not None and",
       "if False and", "spool/test_dropped.py::test_a_file_of_a_stranger_is_not_run"),
    _v("spool/reject.py", "another file is rejected than was seen", "if seen is not None and",
       "if seen is None and",
       "spool/test_dropped.py::test_a_file_that_took_the_place_of_a_bad_one_is_not_rejected"),
    _v("spool/layout.py", "leftovers are removed too early", "36 * 3600", "34 * 3600",
       "spool/test_housekeeping.py::test_leftovers_of_dead_writers_are_removed_after_36_hours"),
    _v("spool/layout.py", "hidden files are jobs", ' and not name.startswith(".")', "",
       "unit/test_layout.py::test_jobs_are_the_json_files_that_are_not_hidden"),
    _v("spool/watch.py", "an overflow is ignored", "self._overflowed.set()", "pass",
       "spool/test_lost_events.py::test_a_watch_notices_that_the_kernel_has_dropped_events"),
    _v("spool/settings_file.py", "settings are written without their lock",
       "with self._locked(disk):\n            content =", "if True:\n            content =",
       "spool/test_settings.py::test_a_setting_is_read_and_written_under_one_lock"),
]  # fmt: skip

WORKERS = [
    _v("worker/backlog.py", "priorities are reversed", "(-job.priority, ", "(job.priority, ",
       f"{BACKLOG}jobs_are_taken_by_priority_and_then_by_age"),
    _v("worker/backlog.py", "the newest runs first", "job.created, due,", "-job.created, due,",
       f"{BACKLOG}jobs_are_taken_by_priority_and_then_by_age"),
    _v("worker/backlog.py", "a scheduled job runs early", "if job.due > now:", "if False:",
       f"{BACKLOG}a_scheduled_job_is_taken_when_it_is_due"),
    _v("worker/backlog.py", "a drain does not wait for retries", ' or self._known["failed"]', "",
       f"{BACKLOG}a_backlog_of_only_scheduled_jobs_is_idle"),
    _v("worker/backlog.py", "a closed backlog gives out jobs", "while not self._closed:",
       "while True:", f"{BACKLOG}a_closed_backlog_gives_out_nothing"),
    _v("worker/unready.py", "the quiet period is ignored", "now - since >= quiet_period", "True",
       f"{BACKLOG}a_file_is_bad_when_nobody_has_changed_it_for_long_enough"),
    _v("worker/scanning.py", "lost events are ignored", "not self._overflowed.is_set()", "True",
       "spool/test_lost_events.py::test_after_lost_events_the_known_files_are_looked_at_again"),
    _v("worker/scanning.py", "events are the truth",
       "if full or not self._intake.knows(state, name):", "if full:",
       "spool/test_lost_events.py::test_a_file_without_an_event_is_found_by_a_scan"),
    _v("worker/slot.py", "a cancel before the start is ignored", "if self.is_cancelled(claim):\n"
       '            self._switch.stop("cancelled")', "if False:\n            pass",
       f"{WORKER}a_job_that_is_cancelled_before_its_command_starts_does_not_start"),
    _v("worker/slot.py", "an outcome is reported and not committed", "if not committed:",
       "if False:",
       "spool/test_pauses.py::test_a_settled_job_is_committed_before_the_next_command_starts"),
    _v("worker/slot.py", "the marker comes after its event",
       "marker = self._shared.hooks.announce(claim, record, target, settings, again=marker)\n"
       "                moved = self._spool.claims.settle(claim, record, target)",
       "moved = self._spool.claims.settle(claim, record, target)\n"
       "                marker = "
       "self._shared.hooks.announce(claim, record, target, settings, again=marker)",
       "spool/test_hooks.py::test_a_marker_is_on_disk_before_its_event"),
    _v("worker/attempt.py", "a refused start is the job's fault",
       'if trouble.owner(error) == "process":', "if False:",
       "spool/test_pauses.py::test_a_start_that_the_machine_refuses_is_tried_again_and_not_counted"),
    _v("worker/attempt.py", "remnants of a failed command run on",
       "if asked or command.has_failed():", "if asked:",
       f"{TREE}nothing_is_left_of_a_command_that_failed"),
    _v("worker/attempt.py", "what a successful command left is ended",
       "if asked or command.has_failed():", "if asked or command.has_failed() or True:",
       f"{TREE}what_a_command_that_succeeded_left_running_is_left_alone"),
    _v("worker/in_hand.py", "claims that slots have are strays",
       "if (place.id, place.attempt) not in ours]", "]",
       "unit/test_in_hand.py::test_a_claim_that_a_slot_has_is_no_stray"),
    _v("worker/stopping.py", "a second signal is like the first",
       '"stop" if self._count == 1 else "stop now"', '"stop"',
       "spool/test_stop.py::test_the_second_signal_asks_to_stop_now"),
    _v("worker/slots.py", "a stop is ignored", "self._shared.stopping = True", "pass",
       "spool/test_stop.py::test_a_job_that_is_claimed_as_its_worker_stops_is_put_back"),
    _v("worker/worker.py", "SIGCHLD stays ignored",
       "if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:", "if False:",
       f"{STARTED}a_worker_knows_how_commands_end_though_it_ignored_the_end_of_its_children"),
    _v("worker/worker.py", "a drain leaves while another worker runs a job",
       "return any(True for _ in self.spool.reader.claims())", "return False",
       "spool/test_stop.py::test_a_drain_waits_for_what_another_worker_runs"),
    _v("worker/descriptors.py", "too low a limit is accepted", "limit >= count", "True",
       "spool/test_descriptors.py::test_too_low_a_limit_is_refused"),
    _v("worker/hook_run.py", "an interrupted hook is not run again",
       "if switch.reason is not None:\n            return", "",
       f"{HOOKS}hooks_of_a_worker_that_stops_now_are_run_by_the_next[by call]"),
    _v("worker/hooks.py", "more hooks run than there are slots", "self._limit - len(self._running)",
       "99",
       "spool/test_hooks.py::test_at_most_as_many_hooks_run_at_a_time_as_there_are_slots"),
]  # fmt: skip

VARIANTS = [*RECORD, *DISK, *PROCESS, *SPOOL, *WORKERS]
