"""Takes each guard of the hostile tester's list away in a copy of the tree, and says whether a test fails then.

    python -m tests.server.guards                    # all of them: half an hour
    python -m tests.server.guards "form token" next  # those with one of these words in their name
    python -m tests.server.guards --table            # the list as it stands in docs/hostile.md, without running a test

A guard is the text that is replaced. test_hostile.py holds that each text still stands in its file exactly once, and
that docs/hostile.md names every guard; whoever adds a guard adds it here, runs it, and writes the table anew.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
ROOMS = ("protocol", "config", "firmware_bridge", "kiosk", "server", "gatehouse", "tests")
MOST_S = 600  # for the tests of one guard


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement."""

    file: str  # below the top of the tree
    old: str  # stands in the file exactly once
    new: str


@dataclass(frozen=True, slots=True)
class Guard:
    """Something that holds an attacker off: how it is taken away, and the tests that must fail then."""

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]  # pytest's names of them, below tests/server

    def files(self) -> str:
        """The files it stands in, below server/."""
        return ", ".join(dict.fromkeys(edit.file.removeprefix("server/") for edit in self.edits))


def _guard(name: str, file: str, old: str, new: str, *tests: str) -> Guard:
    return Guard(name, (Edit(f"server/{file}", old, new),), tests)


_FRAME, _INIT, _RIGHTS, _SERVING = "web/frame.py", "application.py", "accounts/rights.py", "web/serving.py"
_VIEWS, _SESSIONS, _FACTOR = "accounts/views.py", "accounts/sessions.py", "accounts/second_factor.py"
_HOSTILE, _SLOW, _BOMBS = "test_hostile.py::test_", "test_slow_clients.py::test_", "test_upload_bombs.py::test_"
_SESSION_TESTS, _USER_TESTS = "accounts/test_sessions.py::test_", "accounts/test_users.py::test_"
_FACTOR_TESTS, _SIGN_IN = "accounts/test_second_factor.py::test_", "test_sign_in.py::test_"
_ROUTES = "test_routes.py::test_each_role_gets_exactly_what_the_table_says"
_SEARCH = "search/test_search.py::test_each_role_finds_exactly_what_it_may_open"
_LISTS = f"{_HOSTILE}a_list_holds_nothing_of_another_area"

GUARDS: tuple[Guard, ...] = (
    # --- forged posts -------------------------------------------------------------------------------------------------
    _guard(
        "form token of the own session",
        _FRAME,
        "            csrf.protect()\n",
        "            pass\n",
        f"{_HOSTILE}every_post_wants_the_token_of_its_own_session",
    ),
    _guard(
        "no post from another site",
        _FRAME,
        "        _refuse_other_sites(sends_no_referrer=bool(access.proof))\n",
        "        pass\n",
        f"{_HOSTILE}no_other_site_posts_even_with_the_token",
    ),
    _guard(
        "a null origin only where no referrer is sent",
        _FRAME,
        'if origin == "null" and sends_no_referrer:',
        'if origin == "null":',
        "test_frame.py::test_a_form_sent_by_another_site_is_refused",
    ),
    _guard(
        "cookie is not sent along from other sites",
        _INIT,
        'SESSION_COOKIE_SAMESITE="Lax"',
        'SESSION_COOKIE_SAMESITE="None"',
        "test_frame.py::test_https_makes_cookies_secure_and_sends_hsts",
    ),
    _guard(
        "cookie of a known device is not sent along",
        "accounts/devices.py",
        '        httponly=True,\n        samesite="Lax",\n',
        "",
        f"{_HOSTILE}the_cookie_of_a_known_device_is_not_for_scripts_or_other_sites",
    ),
    _guard(
        "looking cannot write",
        "db.py",
        'writes=request.method not in {"GET", "HEAD", "OPTIONS"}, ',
        "writes=True, ",
        f"{_HOSTILE}a_page_that_is_looked_at_could_not_write_if_it_wanted_to",
    ),
    _guard(
        "ticket of the tip-off's form",
        "tipoffs/taking.py",
        "not hmac.compare_digest(tag, _tag(stamp)) or ",
        "",
        "tipoffs/test_tipoffs.py::test_a_form_that_is_not_ours_is_refused",
    ),
    _guard(
        "the tip-off's ticket ends",
        "tipoffs/taking.py",
        "return 0 <= now.timestamp() - int(begun) <= TICKET_LIVES.total_seconds()",
        "return True",
        "tipoffs/test_tipoffs.py::test_a_form_that_is_not_ours_is_refused",
    ),
    _guard(
        "ticket of a check-in",
        "checkin/tickets.py",
        " or not hmac.compare_digest(tag, _tag(body))",
        "",
        "checkin/test_checkin_pages.py::test_a_ticket_is_good_for_its_poster_and_a_quarter_of_an_hour",
    ),
    _guard(
        "a check-in's ticket is for its own poster",
        "checkin/tickets.py",
        "return ticket if is_here and ticket",
        "return ticket if ticket",
        "checkin/test_checkin_pages.py::test_a_ticket_is_good_for_its_poster_and_a_quarter_of_an_hour",
    ),
    Guard(
        "signature of a kiosk's upload",
        (Edit("protocol/cose.py", "    verify_raw(signed, message.signature, key, alg=alg)  # (3) (4) (5)\n", ""),),
        ("ingest/test_signatures.py::test_the_right_name_with_a_wrong_signature_is_nobody[sqlite]",),
    ),
    # --- who gets in --------------------------------------------------------------------------------------------------
    _guard(
        "sign-in before everything",
        _FRAME,
        "    if access.gate is not Gate.OPEN and g.person is None:\n",
        "    if False:\n",
        "test_routes.py::test_strangers_get_into_open_pages_only",
    ),
    _guard(
        "right to the page",
        _FRAME,
        "    if access.rights and not g.person.holds_any(access.rights):  # (6)\n",
        "    if False:\n",
        f"{_ROUTES}[sqlite-VT]",
    ),
    _guard(
        "area of an object",
        _RIGHTS,
        "    if not any(somebody.may_at(place, right.permission, *right.acts) for right in rights):\n",
        "    if False:\n",
        f"{_ROUTES}[sqlite-TS]",
    ),
    _guard(
        "agreement and training",
        _FRAME,
        "    if access.is_personal and not may_see_personal(g.person):  # (8)\n",
        "    if False:\n",
        f"{_USER_TESTS}personal_data_waits_for_agreement_and_training[sqlite]",
    ),
    _guard(
        "second factor must be set up",
        _FRAME,
        "        if g.person.must_set_up_factor and ",
        "        if False and ",
        f"{_FACTOR_TESTS}an_official_does_nothing_before_a_second_factor_is_set_up[sqlite]",
    ),
    _guard(
        "first password must be changed",
        _FRAME,
        "        if g.person.must_change_password and ",
        "        if False and ",
        f"{_SIGN_IN}a_first_password_must_be_changed_before_anything_else",
    ),
    _guard(
        "password alone opens nothing",
        _FRAME,
        "        if not row.is_complete:\n",
        "        if False:\n",
        f"{_FACTOR_TESTS}the_password_alone_opens_nothing_once_there_is_a_factor[sqlite]",
    ),
    _guard(
        "a route that declares nothing stops the start",
        _INIT,
        "    check_all_declared(app)\n",
        "",
        "test_frame.py::test_an_application_with_such_a_route_cannot_be_made",
    ),
    # --- other people's things ----------------------------------------------------------------------------------------
    _guard(
        "area of the list of venues",
        "venues/views.py",
        "select(Venue).where(reach.condition(Venue.area_path, Venue.id))",
        "select(Venue)",
        _LISTS,
    ),
    _guard(
        "area of the list of codes",
        "codes/views.py",
        "select(VenueCode).where(reach.in_order(VenueCode.area_path, VenueCode.venue_id))",
        "select(VenueCode)",
        _LISTS,
    ),
    _guard(
        "area of the list of kiosks",
        "kiosks/views.py",
        "select(Kiosk).where(somebody.reach(Permission.KIOSKS, Act.READ).condition(Kiosk.area_path, Kiosk.venue_id))",
        "select(Kiosk)",
        _LISTS,
    ),
    _guard(
        "area of the kiosks counted on the first page",
        "console/views.py",
        "        .where(reach.condition(Kiosk.area_path, Kiosk.venue_id))\n",
        "",
        f"{_HOSTILE}the_first_page_counts_nothing_of_another_area",
    ),
    _guard(
        "area of the codes counted on the first page",
        "console/views.py",
        "    within_reach = reach.in_order(VenueCode.area_path, VenueCode.venue_id)\n",
        "    within_reach = VenueCode.serial > 0\n",
        f"{_HOSTILE}the_first_page_counts_nothing_of_another_area",
    ),
    _guard(
        "area of the venues counted on the first page",
        "console/views.py",
        '.where(reach.in_order(Venue.area_path, Venue.id), Venue.keeper_name == "")',
        '.where(Venue.keeper_name == "")',
        f"{_HOSTILE}the_first_page_counts_nothing_of_another_area",
    ),
    _guard(
        "area of the audit trail",
        "console/views.py",
        "        .where(or_(AuditEvent.actor == somebody.id, *scopes))\n",
        "",
        "test_console.py::test_the_trail_is_read_within_ones_area",
    ),
    _guard(
        "area of the list of residents",
        "residents/desk.py",
        ".where(somebody.reach_any(READS).condition(Area.path), Resident.withdrawn_at.is_(None))",
        ".where(Resident.withdrawn_at.is_(None))",
        _LISTS,
    ),
    _guard(
        "area of the search for residents",
        "residents/finding.py",
        ".where(reach.condition(Area.path), Resident.withdrawn_at.is_(None))",
        ".where(Resident.withdrawn_at.is_(None))",
        "test_papers.py::test_residents_elsewhere_or_without_an_address_are_out_of_reach",
    ),
    _guard(
        "area of the list of paper codes",
        "papers/views.py",
        "        .where(person().reach(*ISSUES).condition(Area.path))\n",
        "",
        "test_papers.py::test_a_paper_code_of_another_community_is_out_of_reach",
    ),
    _guard(
        "area of the list of notices",
        "notices/views.py",
        ".where(person().reach(*SEES).condition(Area.path, PublicNotice.venue_id))",
        "",
        f"{_HOSTILE}no_notice_and_no_pass_of_another_area_is_listed",
    ),
    _guard(
        "area of the list of passes",
        "inspectors/views.py",
        "        .where(or_(InspectorPass.user_id == person().id, reach.condition(InspectorPass.area_path)))\n",
        "",
        f"{_HOSTILE}no_notice_and_no_pass_of_another_area_is_listed",
    ),
    _guard(
        "area of the list of accounts",
        "accounts/granting.py",
        "    return or_(here.where(lasting), and_(here, ~has_lasting))\n",
        "    return or_(has_lasting, ~has_lasting)\n",
        f"{_USER_TESTS}a_list_shows_own_people_only[sqlite]",
    ),
    _guard(
        "area of the search of the console",
        "search/words.py",
        "        reach.condition(SearchEntry.area_path, SearchEntry.venue_id),\n",
        "",
        _SEARCH,
    ),
    _guard(
        "area of the list of cases",
        "cases/lists.py",
        "select(Case).where(visible_to(somebody, machine.name))",
        "select(Case).where(Case.machine == machine.name)",
        _LISTS,
    ),
    _guard(
        "area of a case",
        "cases/views.py",
        " or case.machine not in machines() or not may_see(reading, case, person()):",
        " or case.machine not in machines():",
        "cases/test_pages.py::test_a_case_exists_for_those_who_may_see_it",
    ),
    _guard(
        "area of an application",
        "applications/views.py",
        "if row is None or case is None or not may_see(reading, case, person()):",
        "if row is None or case is None:",
        "applications/test_applications.py::test_a_draft_is_its_applicants_alone_and_a_reviewer_reaches_the_own_street",
    ),
    _guard(
        "area of an inspection",
        "inspections/views.py",
        "if case is None or case.machine != INSPECTION.name or not may_see(reading, case, person()):",
        "if case is None or case.machine != INSPECTION.name:",
        "inspections/test_inspections.py::test_a_draw_stays_and_can_be_checked",
    ),
    _guard(
        "a photograph belongs to its inspection",
        "inspections/views.py",
        "if row is None or row.case_id != case.id:",
        "if row is None:",
        f"{_HOSTILE}a_photograph_is_not_reached_through_another_inspection",
    ),
    _guard(
        "area of a tip-off",
        "tipoffs/views.py",
        "if case is None or case.machine != TIP_OFF.name or not may_see(reading, case, person()):",
        "if case is None or case.machine != TIP_OFF.name:",
        "tipoffs/test_tipoffs.py::test_staff_elsewhere_and_people_of_the_venue_read_nothing",
    ),
    _guard(
        "no tip-off for those it is about",
        "tipoffs/views.py",
        "    if case.venue_id is not None and any(grant.venue_id == case.venue_id for grant in person().grants):\n",
        "    if False:\n",
        "tipoffs/test_tipoffs.py::test_who_handles_tip_offs_and_works_at_the_venue_reads_none_about_it",
    ),
    _guard(
        "venues of a query",
        "queries/asking.py",
        "return [v for v in rows if somebody.may_at(place_of(v), Permission.PASSAGES, Act.READ_MASKED)]",
        "return list(rows)",
        "queries/test_query_pages.py::test_a_venue_s_own_people_get_masked_checks_of_their_venue_only[sqlite]",
    ),
    _guard(
        "a passkey belongs to its account",
        "accounts/own_views.py",
        "if row is None or row.user_id != person().id:",
        "if row is None:",
        f"{_HOSTILE}nobody_removes_the_passkey_of_somebody_else",
    ),
    Guard(
        "a recovery code belongs to its account (held twice)",
        (
            Edit(
                "server/accounts/second_factor.py",
                "keys.account_code_hash(user_id, code)",
                'keys.account_code_hash("", code)',
            ),
            Edit(
                "server/accounts/second_factor.py",
                "account_code_hash(user_id, given),\n            RecoveryCode.user_id == user_id,\n",
                'account_code_hash("", given),\n',
            ),
        ),
        (f"{_FACTOR_TESTS}a_recovery_code_of_somebody_else_is_none[sqlite]",),
    ),
    # --- uploads ------------------------------------------------------------------------------------------------------
    _guard(
        "pixels of a picture",
        "uploads/reading.py",
        "            if pixels > (MOST_JPEG_PIXELS if image.format == \"JPEG\" else MOST_OTHER_PIXELS):\n",
        "            if False:\n",
        "applications/test_uploads.py::test_a_bomb_is_refused_before_it_unfolds",
    ),
    _guard(
        "a picture is JPEG, PNG or WebP",
        "uploads/reading.py",
        "Image.open(io.BytesIO(data), formats=PICTURE_FORMATS)",
        "Image.open(io.BytesIO(data))",
        "applications/test_uploads.py::test_a_picture_of_a_kind_that_is_not_asked_for_is_refused",
    ),
    _guard(
        "a picture is made anew",
        "uploads/reading.py",
        '    return Judged("image/jpeg", jpeg(clean), *clean.size)\n',
        '    return Judged("image/jpeg", data, *clean.size)\n',
        "applications/test_uploads.py::test_a_picture_is_made_anew_without_what_came_along",
    ),
    _guard(
        "bytes of a file",
        "uploads/reading.py",
        "    if len(data) > MOST_BYTES:\n",
        "    if False:\n",
        "applications/test_uploads.py::test_too_large_and_empty_files_are_refused",
    ),
    _guard(
        "a PDF does nothing by itself",
        "uploads/reading.py",
        "    if _ACTS.search(_plain_names(data)):\n",
        "    if False:\n",
        "applications/test_uploads.py::test_a_pdf_that_acts_is_refused",
    ),
    _guard(
        "a PDF's names are read as a reader reads them",
        "uploads/reading.py",
        "_ACTS.search(_plain_names(data))",
        "_ACTS.search(data)",
        "applications/test_uploads.py::test_a_pdf_that_acts_is_refused",
    ),
    _guard(
        "a file alone in a browser is in a sandbox",
        "uploads/keeping.py",
        '    answer.headers["Content-Security-Policy"] = FILE_POLICY\n',
        "",
        "applications/test_uploads.py::test_a_file_alone_in_a_browser_can_do_nothing",
    ),
    _guard(
        "a PDF is saved and never shown",
        "uploads/keeping.py",
        'how = "inline" if media_type.startswith("image/") else "attachment"',
        'how = "inline"',
        "applications/test_uploads.py::test_a_file_alone_in_a_browser_can_do_nothing",
    ),
    _guard(
        "what a sheet unfolds to",
        "codes/bulk.py",
        " or sum(part.file_size for part in inside) > MOST_UNPACKED_BYTES",
        "",
        "posters/test_bulk.py::test_a_good_sheet_with_too_much_around_it_is_refused_for_that",
    ),
    _guard(
        "parts of a sheet",
        "codes/bulk.py",
        "len(inside) > MOST_PARTS or ",
        "",
        "posters/test_bulk.py::test_a_good_sheet_with_too_much_around_it_is_refused_for_that",
    ),
    _guard(
        "bytes of a sheet",
        "codes/bulk.py",
        "    if len(data) > MOST_BYTES:\n",
        "    if False:\n",
        "posters/test_bulk.py::test_a_good_sheet_with_too_much_around_it_is_refused_for_that",
    ),
    _guard(
        "lines of a table of residents",
        "residents/importing.py",
        "            if len(rows) > MAX_ROWS:\n",
        "            if False:\n",
        _BOMBS + "a_table_of_very_many_lines_is_refused",
    ),
    _guard(
        "number of a form's parts",
        _INIT,
        "MAX_FORM_PARTS=200,",
        "MAX_FORM_PARTS=None,",
        f"{_BOMBS}a_form_of_very_many_parts_is_not_taken_apart",
    ),
    Guard(
        "size of a body (held three times)",
        (
            Edit("server/application.py", "        MAX_CONTENT_LENGTH=settings.limits.form_bytes,\n", ""),
            Edit("server/application.py", "        MAX_FORM_MEMORY_SIZE=settings.limits.form_bytes,\n", ""),
            Edit(
                "server/web/frame.py",
                "    request.max_content_length = access.max_bytes or house().settings.limits.form_bytes\n",
                "",
            ),
        ),
        (f"{_HOSTILE}a_body_over_the_limit_is_refused_unread",),
    ),
    _guard(
        "size of a machine's body",
        _FRAME,
        "        request.max_content_length = access.max_bytes or house().settings.limits.machine_bytes\n",
        "        request.max_content_length = 1 << 40\n",
        "ingest/test_enrolment.py::test_a_body_that_is_too_large_is_refused_by_name[sqlite]",
    ),
    _guard(
        "a form says how long it is",
        _FRAME,
        "        abort(411)  # a form",
        "        pass  # a form",
        "test_frame.py::test_a_form_of_unknown_length_is_refused_and_never_cut_off",
    ),
    _guard(
        "no NUL in an address",
        _FRAME,
        '    if any("\\0" in value for value in request.args.values()):',
        "    if False:",
        f"{_HOSTILE}a_nul_byte_is_refused_before_a_database_chokes_on_it",
    ),
    _guard(
        "no NUL in a form",
        _FRAME,
        '            if any("\\0" in value for value in request.form.values()):',
        "            if False:",
        f"{_HOSTILE}a_nul_byte_is_refused_before_a_database_chokes_on_it",
    ),
    # --- names that are code ------------------------------------------------------------------------------------------
    _guard(
        "names are text",
        _INIT,
        "    language.install(app)\n",
        "    language.install(app)\n    app.jinja_env.autoescape = False\n",
        f"{_HOSTILE}names_are_text_on_every_page",
    ),
    _guard(
        "names are text in both languages",
        "web/language.py",
        "    return escape(message) % values if values else escape(message)\n",
        "    return Markup(message % values if values else message)\n",
        "test_console.py::test_values_are_escaped_in_both_languages",
    ),
    _guard(
        "names are text on posters",
        _INIT,
        "    language.install(app)\n",
        "    language.install(app)\n"
        '    app.jinja_env.autoescape = lambda name: bool(name) and not name.endswith(".svg")\n',
        f"{_HOSTILE}names_are_text_on_posters_and_the_scanned_page",
    ),
    _guard(
        "content security policy",
        _FRAME,
        '    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),\n',
        "",
        f"{_HOSTILE}no_page_can_be_framed_or_sniffed",
    ),
    _guard(
        "no sniffing",
        _FRAME,
        '    ("X-Content-Type-Options", "nosniff"),\n',
        "",
        f"{_HOSTILE}a_file_that_is_shown_cannot_run_here",
    ),
    _guard(
        "no framing",
        _FRAME,
        '    ("X-Frame-Options", "DENY"),\n',
        "",
        f"{_HOSTILE}no_page_can_be_framed_or_sniffed",
    ),
    # --- formulas -----------------------------------------------------------------------------------------------------
    _guard(
        "cells are no formulas",
        "cases/sheets.py",
        'plain.lstrip(" ").startswith(_BEGINS_FORMULA) or plain.startswith("\\t")',
        "False",
        f"{_HOSTILE}a_cell_of_an_export_is_never_a_formula",
    ),
    _guard(
        "cells of a list as CSV",
        "exports/writing.py",
        "[cell(_shown(value, zone)) if isinstance(value, str) else _shown(value, zone) for value in row]",
        "[_shown(value, zone) for value in row]",
        f"{_HOSTILE}no_export_holds_a_formula",
    ),
    Guard(
        "cells of a list as XLSX (held twice)",
        (
            Edit("server/exports/writing.py", '        "strings_to_formulas": False,\n', ""),
            Edit(
                "server/exports/writing.py",
                "sheet.write_string(line, column, str(value)[:MOST_CHARACTERS])",
                "sheet.write(line, column, str(value)[:MOST_CHARACTERS])",
            ),
        ),
        (f"{_HOSTILE}no_export_holds_a_formula",),
    ),
    _guard(
        "cells of a list of cases",
        "cases/lists.py",
        'writer.writerow([cell(text) for text in (*plain, *(facts.get(field.label, "") for field in fields))])',
        'writer.writerow([*plain, *(facts.get(field.label, "") for field in fields)])',
        f"{_HOSTILE}no_export_holds_a_formula",
    ),
    # --- open redirect ------------------------------------------------------------------------------------------------
    _guard(
        "`next` leads nowhere else",
        _VIEWS,
        "    wish = _own_path(form.next.data)\n",
        "    wish = form.next.data\n",
        f"{_SIGN_IN}sign_in_leads_to_our_own_pages_only",
    ),
    _guard(
        "`next` beside a passkey leads nowhere else",
        _VIEWS,
        '_own_path(request.form.get("next"))',
        'request.form.get("next")',
        f"{_HOSTILE}a_passkey_leads_to_our_own_pages_only",
    ),
    _guard(
        "our own host names only",
        _INIT,
        '        TRUSTED_HOSTS=[settings.host.rsplit(":", 1)[0], *settings.extra_hosts],\n',
        "",
        f"{_HOSTILE}another_host_is_answered_nothing",
    ),
    _guard(
        "our own host names only, at the kiosks' door",
        "ingest/door.py",
        '            and _is_ours(environ.get("HTTP_HOST", ""), self._trusted)\n',
        "",
        "ingest/test_door.py::test_the_door_answers_as_flask_alone_would[sqlite-bad host]",
    ),
    _guard(
        "size of an upload at the kiosks' door",
        "ingest/door.py",
        "            and int(length) <= self._most_bytes\n",
        "",
        "ingest/test_door.py::test_the_door_answers_as_flask_alone_would[sqlite-too large]",
    ),
    # --- sessions -----------------------------------------------------------------------------------------------------
    _guard(
        "a session begins with a new cookie",
        _SESSIONS,
        "    end_current(writing)\n    cookie.clear()\n",
        "    end_current(writing)\n",
        f"{_SIGN_IN}a_session_from_before_the_sign_in_is_not_kept",
    ),
    _guard(
        "a session begins with a new token",
        _SESSIONS,
        "    cookie.clear()\n    token = secrets.token_urlsafe(32)\n",
        "    token = cookie.get(TOKEN) or secrets.token_urlsafe(32)\n",
        f"{_SESSION_TESTS}a_planted_cookie_is_never_signed_in[sqlite]",
    ),
    _guard(
        "signing in ends the session that was there",
        _SESSIONS,
        "    end_current(writing)\n    cookie.clear()\n",
        "    cookie.clear()\n",
        f"{_SESSION_TESTS}signing_in_again_ends_the_session_that_was_there[sqlite]",
    ),
    _guard(
        "the second factor begins a new session",
        _VIEWS,
        "    sessions.begin(session(), user.id, method)\n    audit(",
        "    if g.half is None:\n        sessions.begin(session(), user.id, method)\n    else:\n"
        "        session().get_one(AccountSession, g.half[0].id).is_complete = True\n    audit(",
        f"{_FACTOR_TESTS}the_session_changes_when_the_factor_is_passed[sqlite]",
    ),
    _guard(
        "a session ends at last",
        _SESSIONS,
        "            AccountSession.key == _key(token),\n            AccountSession.ends_at > now,\n",
        "            AccountSession.key == _key(token),\n",
        f"{_SESSION_TESTS}a_session_ends_at_last_however_much_it_is_used[sqlite]",
    ),
    _guard(
        "a session nobody uses ends",
        _SESSIONS,
        "            AccountSession.seen_at > now - idle,\n            User.is_active,\n",
        "            User.is_active,\n",
        f"{_SESSION_TESTS}a_session_nobody_uses_ends[sqlite]",
    ),
    _guard(
        "a disabled account has no session",
        _SESSIONS,
        "            AccountSession.seen_at > now - idle,\n            User.is_active,\n",
        "            AccountSession.seen_at > now - idle,\n",
        f"{_SESSION_TESTS}a_disabled_account_has_no_session[sqlite]",
    ),
    _guard(
        "half a sign-in ends",
        _SESSIONS,
        "timedelta(hours=settings.session_hours) if is_complete else HALF_LIFE",
        "timedelta(hours=settings.session_hours)",
        f"{_FACTOR_TESTS}half_a_sign_in_ends_by_itself[sqlite]",
    ),
    _guard(
        "one's own sessions only",
        _SESSIONS,
        ".where(AccountSession.id == session_id, AccountSession.user_id == user_id)",
        ".where(AccountSession.id == session_id)",
        f"{_SESSION_TESTS}nobody_ends_the_session_of_somebody_else[sqlite]",
    ),
    _guard(
        "the database holds no token",
        _SESSIONS,
        "    return hashlib.sha256(token.encode()).digest()  # 256",
        "    return token.encode()  # 256",
        f"{_SESSION_TESTS}the_database_holds_no_token[sqlite]",
    ),
    _guard(
        "signing out ends the session",
        _VIEWS,
        '    sessions.end_current(session())\n    audit(session(), "account.signed_out"',
        '    audit(session(), "account.signed_out"',
        f"{_SESSION_TESTS}a_cookie_from_before_signing_out_is_worth_nothing[sqlite]",
    ),
    _guard(
        "a new password ends sessions",
        _VIEWS,
        "        sessions.end_all(session(), user.id)\n",
        "",
        f"{_SESSION_TESTS}a_new_password_ends_sessions_elsewhere[sqlite]",
    ),
    _guard(
        "a password chosen by a link ends sessions",
        "accounts/links.py",
        "    sessions.end_all(writing, user.id)\n",
        "",
        f"{_HOSTILE}a_password_chosen_through_a_link_ends_sessions",
    ),
    _guard(
        "cookie is not for scripts",
        _INIT,
        "SESSION_COOKIE_HTTPONLY=True",
        "SESSION_COOKIE_HTTPONLY=False",
        "test_frame.py::test_https_makes_cookies_secure_and_sends_hsts",
    ),
    _guard(
        "cookie goes over HTTPS only",
        _INIT,
        "SESSION_COOKIE_SECURE=settings.is_https",
        "SESSION_COOKIE_SECURE=False",
        "test_frame.py::test_https_makes_cookies_secure_and_sends_hsts",
    ),
    _guard(
        "the second factor changes with the password only",
        "accounts/own_views.py",
        '    if (problem := wrong_password(request.form.get("password"))) is not None:\n',
        '    if (problem := None) is not None:\n',
        f"{_FACTOR_TESTS}the_factor_is_changed_with_the_password_only[sqlite]",
    ),
    # --- enumeration and guessing -------------------------------------------------------------------------------------
    _guard(
        "names that do not exist cost the same",
        "accounts/passwords.py",
        "        stored = None\n    try:\n",
        "        return False\n    try:\n",
        f"{_HOSTILE}names_that_exist_cost_the_same_work_as_names_that_do_not",
    ),
    _guard(
        "wrong name and wrong password look alike",
        _VIEWS,
        "        return _sign_in_page(form, WRONG), 401\n",
        '        return _sign_in_page(form, WRONG if user else "There is no such name."), 401\n',
        f"{_SIGN_IN}a_wrong_name_and_a_wrong_password_look_alike",
    ),
    _guard(
        "what is out of reach is as what does not exist",
        _RIGHTS,
        "for right in rights):\n        abort(404)\n",
        "for right in rights):\n        abort(403)\n",
        f"{_HOSTILE}what_is_out_of_reach_looks_like_what_does_not_exist",
    ),
    _guard(
        "guesses of one name are slowed",
        _VIEWS,
        "        wait_s = wait_s or attempt(writing, key, now)\n",
        "",
        f"{_SIGN_IN}guessing_is_slowed_down_for_the_guesser_only",
    ),
    _guard(
        "guesses are slowed for the guesser only",
        _VIEWS,
        'key = pair_key(f"device {device}" if device else source, name)',
        'key = pair_key("", name)',
        f"{_SIGN_IN}guessing_is_slowed_down_for_the_guesser_only",
    ),
    _guard(
        "guesses of many names from one source are slowed",
        _VIEWS,
        "            SPRAYING.note(session(), source, now)\n",
        "            pass\n",
        f"{_HOSTILE}one_source_that_tries_many_names_is_slowed_down",
    ),
    _guard(
        "one household is one source",
        "web/throttle.py",
        "        return str(ipaddress.ip_network((found, 64), strict=False))\n",
        "        return str(found)\n",
        "accounts/test_throttle.py::test_an_ipv6_household_is_one_source",
    ),
    _guard(
        "a known device is its owner's",
        "accounts/devices.py",
        "return str(number) if owner == user_id else None",
        "return str(number)",
        f"{_HOSTILE}a_forged_device_cookie_is_no_known_browser",
    ),
    _guard(
        "attempts at the same time all count",
        "web/throttle.py",
        '"count": case((is_over, 1), else_=AttemptCount.count + 1),',
        '"count": 1,',
        "accounts/test_throttle.py::test_attempts_at_the_same_time_all_count[sqlite]",
    ),
    _guard(
        "guesses of the present password are slowed",
        "accounts/own_views.py",
        "        if attempt(writing, key, now):\n",
        "        if False:\n",
        f"{_SESSION_TESTS}guessing_the_present_password_in_an_open_session_is_slowed_down[sqlite]",
    ),
    _guard(
        "a few wrong codes end the half sign-in",
        _VIEWS,
        "        if waiting is None or waiting.wrong_codes + 1 >= MAX_WRONG_CODES:\n",
        "        if waiting is None:\n",
        f"{_FACTOR_TESTS}after_a_few_wrong_codes_the_password_is_asked_for_again[sqlite]",
    ),
    _guard(
        "guesses of codes are slowed",
        _VIEWS,
        "            CODES.note(session(), user.id, now)\n",
        "            pass\n",
        f"{_FACTOR_TESTS}guessing_codes_ends_and_the_owner_still_gets_in[sqlite]",
    ),
    _guard(
        "guesses of password links are slowed",
        _VIEWS,
        "            LINKS.note(writing, source_of(request.remote_addr), house().now())\n",
        "            pass\n",
        f"{_HOSTILE}guessing_password_links_is_slowed_down",
    ),
    _guard(
        "guesses of passkeys are slowed",
        _VIEWS,
        "        PASSKEYS.note(session(), source, now)\n",
        "",
        f"{_HOSTILE}guessing_passkeys_is_slowed_down",
    ),
    _guard(
        "guesses of follow-up codes are slowed",
        "tipoffs/views.py",
        "        FOLLOW_UPS.note(session(), source, now)\n",
        "",
        "tipoffs/test_tipoffs.py::test_a_wrong_code_opens_nothing_and_guessing_is_slowed_down",
    ),
    _guard(
        "one source cannot flood with tip-offs",
        "tipoffs/views.py",
        "    TIPS.note(session(), source, now)\n",
        "",
        "tipoffs/test_tipoffs.py::test_one_source_cannot_flood",
    ),
    _guard(
        "guesses of enrolment codes are slowed",
        "ingest/views.py",
        "    enrol_throttle.check(source, now)\n",
        "",
        "ingest/test_enrolment.py::test_whoever_tries_codes_has_to_wait_and_then_may_go_on[sqlite]",
    ),
    _guard(
        "who fails to be a kiosk is slowed",
        "ingest/answering.py",
        "            exchange_throttle.note_failure(source, now, claimed.hex())\n",
        "",
        "ingest/test_exchange.py::"
        "test_whoever_fails_to_be_a_kiosk_is_slowed_down_and_that_kiosk_from_elsewhere_is_not[sqlite]",
    ),
    _guard(
        "a code of the app is good once",
        _FACTOR,
        ".where(TotpSecret.user_id == row.user_id, TotpSecret.last_step < step)",
        ".where(TotpSecret.user_id == row.user_id)",
        f"{_FACTOR_TESTS}a_code_is_good_once_also_in_another_browser[sqlite]",
    ),
    _guard(
        "a recovery code is good once",
        _FACTOR,
        "            RecoveryCode.user_id == user_id,\n            RecoveryCode.used_at.is_(None),\n",
        "            RecoveryCode.user_id == user_id,\n",
        f"{_FACTOR_TESTS}recovery_codes_are_good_once_and_kept_as_hashes[sqlite]",
    ),
    _guard(
        "a password link is good once",
        "accounts/links.py",
        "        .values(used_at=now)\n",
        "        .values(made_at=now)\n",
        f"{_USER_TESTS}a_new_account_chooses_its_password_through_a_link_that_is_good_once[sqlite]",
    ),
    # --- slow clients -------------------------------------------------------------------------------------------------
    _guard(
        "a head has its time",
        _SERVING,
        "            return took_s > HEAD_WITHIN_S\n",
        "            return False\n",
        f"{_SLOW}who_drips_has_their_time",
    ),
    _guard(
        "a body has its time",
        _SERVING,
        "        return bool(took_s > BODY_WITHIN_S + self.request.body_bytes_received / BODY_BYTES_PER_S)\n",
        "        return False\n",
        f"{_SLOW}who_drips_has_their_time",
    ),
    _guard(
        "silence ends a connection",
        _SERVING,
        "            return bool(time.time() - self.last_activity > IDLE_S)\n",
        "            return False\n",
        f"{_SLOW}silence_ends_a_connection",
        f"{_SLOW}who_takes_nothing_of_an_answer_is_let_go",
    ),
    _guard(
        "a crowd keeps nobody out",
        _SERVING,
        "            self._let_go(waited_for[:surplus])\n",
        "            pass\n",
        f"{_SLOW}a_crowd_that_sends_nothing_whole_keeps_nobody_out",
    ),
    _guard(
        "size of a head",
        _SERVING,
        "            max_request_header_size=MAX_HEAD_BYTES,\n",
        "",
        f"{_SLOW}a_body_over_the_limit_and_a_head_over_its_own_are_refused",
    ),
    _guard(
        "size of any body, before a thread is given",
        _SERVING,
        "            max_request_body_size=max_body_bytes + 1,",
        "",
        f"{_SLOW}a_body_over_the_limit_and_a_head_over_its_own_are_refused",
    ),
    _guard(
        "no path in the log of the reader",
        _SERVING,
        '        record.msg, record.args = f"{before} while serving a request", ()\n',
        "        pass\n",
        f"{_SLOW}no_path_of_a_request_gets_into_the_log",
    ),
    _guard(
        "no path in the log of requests",
        _FRAME,
        'log_answer(request.endpoint or "-", ',
        "log_answer(request.path, ",
        "test_console.py::test_the_log_holds_routes_and_never_a_token",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one guard."""

    guard: Guard
    failed: str  # the first test that failed; empty when none did
    said: str  # the end of what pytest said


def copy_of_the_tree(folder: Path) -> Path:
    """A copy of what the tests need."""
    for room in ROOMS:
        shutil.copytree(TOP / room, folder / room, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in ("pyproject.toml", "docs", "deploy", "bench"):
        source = TOP / name
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            shutil.copy2(source, folder / name)
    return folder


def without(guard: Guard, tree: Path) -> Outcome:
    """Run the guard's tests in *tree* without it, and put it back."""
    before = {edit.file: (tree / edit.file).read_text() for edit in guard.edits}
    try:
        for edit in guard.edits:
            path = tree / edit.file
            path.write_text(path.read_text().replace(edit.old, edit.new, 1))
        return _run(guard, tree)
    finally:
        for file, text in before.items():
            (tree / file).write_text(text)


def _run(guard: Guard, tree: Path) -> Outcome:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", "--durations=0"]
    command += [f"tests/server/{test}" for test in guard.tests]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=MOST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(guard, "", f"no end within {MOST_S} s")
    found = re.search(r"^(?:FAILED|ERROR) (\S+?::\w+)", done.stdout, re.MULTILINE)
    is_failure = done.returncode == 1 and found is not None and found[0].startswith("FAILED")
    return Outcome(guard, found[1].removeprefix("tests/server/") if is_failure and found else "", done.stdout[-1500:])


def problems(guards: Sequence[Guard] = GUARDS) -> list[str]:
    """What is wrong with the list itself: texts that stand in their file never or twice, names used twice."""
    wrong = [f"{g.name}: twice" for n, g in enumerate(guards) if g.name in {other.name for other in guards[:n]}]
    for guard in guards:
        for edit in guard.edits:
            times = (TOP / edit.file).read_text().count(edit.old)
            if times != 1 or edit.old == edit.new:
                wrong.append(f"{guard.name}: {edit.old!r} stands {times} times in {edit.file}")
        for test in guard.tests:
            file, _, name = test.partition("::")
            path = TOP / "tests" / "server" / file
            if not path.is_file() or (name and f"def {name.partition('[')[0]}(" not in path.read_text()):
                wrong.append(f"{guard.name}: there is no test {test}")
    return wrong


def table(guards: Sequence[Guard] = GUARDS) -> str:
    """The list as docs/hostile.md shows it."""
    rows = ["| guard | where | fails without it |", "|---|---|---|"]
    for guard in guards:
        tests = dict.fromkeys(test.partition("[")[0].replace("::test_", " ") for test in guard.tests)
        shown = "; ".join(f"`{test.partition(' ')[0]}` {test.partition(' ')[2]}".strip() for test in tests)
        rows.append(f"| {guard.name} | `{guard.files()}` | {shown} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the guards that were asked for; 1 when one was not missed by any test."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.server.guards", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("words", nargs="*", help="words of the guards' names; none means all")
    parser.add_argument("--table", action="store_true", help="print the table of docs/hostile.md")
    asked = parser.parse_args(arguments)
    if asked.table:
        print(table())
        return 0
    if wrong := problems():
        print(*wrong, sep="\n")
        return 2
    chosen = [g for g in GUARDS if not asked.words or any(word in g.name for word in asked.words)]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="gatehouse-guards-") as folder:
        tree = copy_of_the_tree(Path(folder))
        for guard in chosen:
            outcome = without(guard, tree)
            missed += not outcome.failed
            print(
                f"{'caught    ' if outcome.failed else 'NOT CAUGHT'} {guard.name}: {outcome.failed or '-'}", flush=True
            )
            if not outcome.failed:
                print(outcome.said, flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} guards were noticed to be gone.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
